"""Adds files to compare with to a front: llama.cpp's presets, the dense model, and the uniform model of each run.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.joint.baselines FRONT --uniform types joint

FRONT is a folder that ``evoprune front`` made, of whole models that types were laid on in one family at least. Each
file is written, loaded again, measured and timed as that command does it. What is there already is not written again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evoprune import Outcome, about, exporting
from evoprune.api import Run
from evoprune.backends.evaluation import build_problem
from evoprune.experiment.resolve import Resolved, resolve
from evoprune.search.toolbox import problem_ref
from problems.language_model.options import ExportSettings
from problems.quantization.types.levels import DENSE


def write(problem: Any, resolved: Resolved, genome: Sequence[float], out: Path) -> None:
    """Write ``genome`` of ``problem`` as the export of a run that found it, and measure it."""
    with tempfile.TemporaryDirectory() as scratch:
        outcome = Outcome(list(genome), problem.evaluate(genome), {})
        result = problem.report(outcome, Path(scratch)) | {"seed": resolved.experiment.seed}
    exporting.export(
        out,
        lambda place: problem.export(genome, result, place, ExportSettings()),
        {"best": {"genome": list(genome)}},
        resolved.config(),
        is_file=True,
    )
    print(out, flush=True)


def with_types(like: Resolved, types: Sequence[str] | None) -> tuple[Any, Resolved]:
    """The problem of ``like`` with ``types`` alone to choose from, all if None, and no limit to speak of."""
    config = like.config()
    own = next(each for each in config["problem"]["transforms"] if each["use"] == "types")
    changed = {"transforms": [own | {"types": types}], "budget": {"use": "bytes", "at_most": 10**12}}
    resolved = resolve(config | {"problem": config["problem"] | changed | {"recover": None}}, "baselines")
    return build_problem(problem_ref(resolved)), resolved


def missing(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Those of ``names`` without a file in ``folder``, and where it goes."""
    for name in names:
        if not about(out := folder / f"{name}.gguf", exporting.FACTS).exists():
            yield name, out


def presets(front: Path, like: Resolved) -> None:
    """Write the dense model, and each preset, once where several come to the same types."""
    problem, resolved = with_types(like, None)
    for _, out in missing(front / "dense", ["F16"]):
        write(problem, resolved, problem.session.transform.dense, out)
    found = {tuple(kinds): name for name, kinds in reversed(list(problem.session.transform.presets().items()))}
    kinds_of = {name: kinds for kinds, name in found.items()}
    for name, out in missing(front / "presets", list(kinds_of)):
        own, resolved = with_types(like, sorted(set(kinds_of[name]) - {DENSE}))
        levels = zip(own.genes, kinds_of[name], strict=True)
        write(own, resolved, [float(gene.levels.index(kind)) for gene, kind in levels], out)


def uniform(front: Path, family: str) -> None:
    """Write the uniform model of each run of ``family``."""
    runs = {place.name: place for place in sorted((front / family / "runs").iterdir())}
    for name, out in missing(front / f"{family}, uniform", list(runs)):
        run = Run.open(runs[name])
        problem: Any = run.problem
        write(problem, run.resolved, problem.references()["uniform"], out)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("front", type=Path, metavar="FRONT", help="the folder that evoprune front made")
    parser.add_argument("--uniform", nargs="*", default=[], metavar="FAMILY", help="whose uniform models to add")
    given = parser.parse_args(arguments)
    first = next(iter(sorted(given.front.glob("*/runs/*"))))
    presets(given.front, Run.open(first).resolved)
    for family in given.uniform:
        uniform(given.front, family)


if __name__ == "__main__":
    main()
