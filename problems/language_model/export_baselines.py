"""The command ``baselines``: models that the result of a run is compared with, exported as the result is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import Exported, InputError, Stopped
from evoprune.api import Run
from evoprune.backends import evaluation
from evoprune.cli.options import add_options, read_declared
from evoprune.console.phase import note
from evoprune.experiment.config import Config
from evoprune.experiment.parameters import check_parameters
from evoprune.exports.exporting import recover_into
from evoprune.interfaces.parts import Outcome
from evoprune.interfaces.planning import Command
from evoprune.interfaces.result import Best
from evoprune.problems.language_model.export import ExportOptions
from evoprune.problems.language_model.parts import Export, Report

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.baselines import Baseline


class ExportBaselines(Command):
    """Export models to compare a run's result with, each into a folder of FRONT: the picture of ``front`` shows them.

    The dense model, the uniform one of the run's limit, recovered as its result is, and llama.cpp's presets. A file
    that is there is not made again.
    """

    help: ClassVar[str] = "export the dense model, uniform ones and llama.cpp's presets, to compare results with"
    example: ClassVar[str] = "python -m evoprune baselines runs/front/joint/runs/1600000 --out runs/front"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("runs", metavar="RUN_DIR", nargs="+", type=Path, help="folders of finished runs")
        parser.add_argument("--out", metavar="FRONT", type=Path, required=True, help="the folder of a front")
        add_options(parser, ExportOptions.model_fields)

    @classmethod
    def call(cls, options: argparse.Namespace) -> None:
        from evoprune.problems.language_model.baselines import baselines_of

        given = read_declared(options)
        check_parameters(ExportOptions, given, "options")
        for folder in options.runs:
            run = Run.open(folder)
            config, suffix = run.resolved.config(), Export.file_suffixes()[0]
            found = baselines_of(run.problem)
            del run  # the model lives as long as its baselines need it: there may be no room for two
            evaluation.this_worker.forget()
            for baseline in found:
                out = options.out / baseline.family / f"{baseline.name or folder.resolve().name}{suffix}"
                if out.exists():
                    continue
                try:
                    note("\n".join([f"{out}:", *_export(baseline, config, out, given).summary]))
                except (InputError, Stopped) as error:  # the others are made
                    note(f"{out}: {error}")
                del baseline


def _export(baseline: Baseline, config: Config, out: Path, given: Mapping[str, Any]) -> Exported:
    """Export ``baseline`` as if the run with this ``config`` had found it."""
    problem, genome, others = baseline.make()
    config = config | {"problem": {"use": config["problem"]["use"], **problem.settings.model_dump(mode="json")}}
    known = {name: (list(own), problem.evaluate(own)) for name, own in others.items()}
    outcome = Outcome(list(genome), problem.evaluate(genome), known)
    checked, export = check_parameters(ExportOptions, given, "options"), Export(problem)

    def write(workplace: Path, place: Path) -> Exported:
        own = Report(problem).report(outcome, workplace)  # an interrupted recovery goes on from there
        best = Best.model_construct(genome=list(genome), fitness=list(outcome.best_evaluation.values))  # maybe infinite
        named = {"best": best, "seed": config["seed"], "folder": workplace, "rival": f"{out.parent.name}/{out.stem}"}
        exported: Exported = export.export(genome, problem.Result.model_validate({**own, **named}), place, checked)
        return exported

    made_by = {"seed": config["seed"], "best": {"genome": list(genome)}}
    return recover_into(out, write, made_by, config, export.writes_file(out))
