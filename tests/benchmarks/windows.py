"""How many calibration windows a score or an update of the remaining weights needs: uniform pruning with more and more.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.windows OUT.jsonl PROBLEM.yaml --scores wanda gblm \\
        --windows 8 16 32 64 128 --seeds 0 1 --set problem.model=MODEL

A seed chooses the windows. The table says, for each score and number of windows, the perplexity of the uniform model on
the report text (mean over seeds, and the range), and the CPU seconds of the statistics, ranks and update.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from evoprune import InputError
from evoprune.experiment.resolve import resolve_file
from evoprune.files.cache import FOLDER
from problems.language_model.problem import Pruning
from problems.language_model.settings import uniform_name
from tests.benchmarks.results import Line, Results


def measured(problem: str, sets: Sequence[str], score: str, reconstruct: str, windows: int, seed: int) -> Line:
    """The uniform model with ``score`` from ``windows`` calibration windows."""
    text = [f"windows={windows}", "sampling=random", f"sampling_seed={seed}"]
    own = [
        f"problem.score={score}",
        f"problem.reconstruct={reconstruct}",
        *(f"problem.calibration_text.{each}" for each in text),
    ]
    with tempfile.TemporaryDirectory() as cache:  # nothing is known from before
        os.environ[FOLDER] = cache
        resolved = resolve_file(problem, [*sets, *own])
        start = time.process_time()
        made = resolved.problem(resolved.settings)
        assert isinstance(made, Pruning)
        session, uniform = made.session, made.references()[uniform_name(made.settings.sparsity)]
        session.transform.finalise(uniform)
        seconds = time.process_time() - start
        perplexity = session.fitness.measure.perplexity(session.texts.report.tokens)
    return _key(score, reconstruct, windows, seed) | {"perplexity": perplexity, "cpu_seconds": seconds}


def _key(score: str, reconstruct: str, windows: int, seed: int) -> Line:
    return {"score": score, "reconstruct": reconstruct, "windows": windows, "seed": seed}


def table(lines: Sequence[Line]) -> str:
    """A row for each score and update, a column for each number of windows."""
    counts = sorted({line["windows"] for line in lines})
    heads = ["score", "update", *(f"{count} windows" for count in counts)]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for kind in dict.fromkeys((line["score"], line["reconstruct"]) for line in lines):
        cells = []
        for count in counts:
            found = [line for line in lines if (line["score"], line["reconstruct"], line["windows"]) == (*kind, count)]
            each = [line["perplexity"] for line in found]
            seconds = mean([line["cpu_seconds"] for line in found]) if found else 0
            cells.append(f"{mean(each):.2f} ({min(each):.2f} to {max(each):.2f}; {seconds:.0f} s)" if each else "-")
        rows.append("| " + " | ".join([*(f"`{name}`" for name in kind), *cells]) + " |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the .jsonl file to write or to complete")
    parser.add_argument("problem", help="the YAML file of a problem that prunes weights")
    parser.add_argument("--scores", nargs="+", default=["wanda", "gblm"])
    parser.add_argument("--reconstruct", default="none", help="how the remaining weights are updated")
    parser.add_argument("--windows", type=int, nargs="+", default=[8, 16, 32, 64, 128])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    try:
        results = Results(given.out, {"problem": given.problem, "sets": given.sets})
        for windows in given.windows:
            for score in given.scores:
                for seed in given.seeds:
                    key = score, given.reconstruct, windows, seed
                    if results.lacks(**_key(*key)):
                        results.add(measured(given.problem, given.sets, *key))
    except (InputError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    print(table(results.lines))


if __name__ == "__main__":
    main()
