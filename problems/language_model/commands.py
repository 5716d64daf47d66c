"""The command ``baselines``, and exports that can be interrupted. Imports no torch."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import Exported, InputError, Run, Stopped
from evoprune.plugins import (
    Best,
    Command,
    Config,
    Outcome,
    add_options,
    check_parameters,
    export,
    locked,
    note,
    read_declared,
    refuse_unless_free,
    this_worker,
)
from evoprune.problems.language_model.parts import Export, Report
from evoprune.problems.language_model.problem import LanguageModel
from evoprune.problems.language_model.results.recovery import has_checkpoints

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.baselines import Baseline


def open_run(folder: Path, overrides: Sequence[str] = ()) -> Run:
    """Return the finished run in ``folder``; refuse one of another problem."""
    run = Run.open(folder, overrides)
    if not issubclass(run.resolved.problem, LanguageModel):
        raise InputError("is no run on a language model", str(folder))
    return run


class ExportBaselines(Command):
    """Export models to compare a run's result with, each into a folder of FRONT: the picture of ``front`` shows them.

    The dense model, the uniform one of the run's limit, recovered as its result is, and llama.cpp's presets.
    Existing files are not made again.
    """

    help: ClassVar[str] = "export the dense model, uniform ones and llama.cpp's presets, to compare results with"
    example: ClassVar[str] = "python -m evoprune baselines runs/front/joint/runs/1600000 --out runs/front"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("runs", metavar="RUN_DIR", nargs="+", type=Path, help="folders of finished runs")
        parser.add_argument("--out", metavar="FRONT", type=Path, required=True, help="the folder of a front")
        add_options(parser, Export.ExportOptions.model_fields)

    @classmethod
    def call(cls, options: argparse.Namespace) -> None:
        checked = check_parameters(Export.ExportOptions, read_declared(options), "options")
        runs = [open_run(folder) for folder in options.runs]  # checked before anything is loaded
        from evoprune.problems.language_model.baselines import baselines_of

        while runs:
            run = runs.pop(0)
            folder = run.folder
            config, suffix = run.resolved.config(), Export.file_suffixes()[0]
            baselines = baselines_of(run.problem)
            del run  # there may be no memory for the models of two runs
            this_worker.forget()
            for baseline in baselines:
                out = options.out / baseline.family / f"{baseline.name or folder.resolve().name}{suffix}"
                if out.exists():
                    continue
                try:
                    note("\n".join([f"{out}:", *_export_baseline(baseline, config, out, checked).summary]))
                except (InputError, Stopped) as error:  # go on with the others
                    note(f"{out}: {error}")
                del baseline


def _export_baseline(baseline: Baseline, config: Config, out: Path, options: Any) -> Exported:
    """Export ``baseline`` as if the run with this ``config`` had found it."""
    problem, genome, references = baseline.make()
    config = config | {"problem": {"use": config["problem"]["use"], **problem.settings.model_dump(mode="json")}}
    scored = {name: (list(reference), problem.evaluate(reference)) for name, reference in references.items()}
    outcome = Outcome(list(genome), problem.evaluate(genome), scored)

    def write(workplace: Path, place: Path) -> Exported:
        report = Report(problem).report(outcome, workplace)  # it continues an interrupted recovery
        best = Best.model_construct(genome=list(genome), fitness=list(outcome.best_evaluation.values))  # maybe infinite
        named = {"best": best, "seed": config["seed"], "folder": workplace, "baseline": f"{out.parent.name}/{out.stem}"}
        return Export(problem).export(genome, problem.Result.model_validate({**report, **named}), place, options)

    provenance = {"seed": config["seed"], "best": {"genome": list(genome)}}
    return export_resumably(out, write, provenance, config, Export.writes_file(out))


def export_resumably(
    out: Path, write: Callable[[Path, Path], Exported], provenance: Mapping[str, Any], experiment: Config, is_file: bool
) -> Exported:
    """As :func:`export` with checkpoints: the first argument of ``write`` is a folder for checkpoints.

    The folder is locked, and deleted at the end, or if it has no checkpoint.
    """
    refuse_unless_free(out, is_file, provenance=provenance)
    workplace = out.with_name(f"{out.name}.unfinished")
    new = not workplace.exists()
    try:
        workplace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", str(workplace)) from None
    try:
        with locked(workplace, "unfinished.lock"):  # another name than that of a run's lock
            exported = export(out, lambda place: write(workplace, place), provenance, experiment, is_file)
            shutil.rmtree(workplace)
            return exported
    except BaseException:
        if new and workplace.exists() and not has_checkpoints(workplace):
            shutil.rmtree(workplace)
        raise
