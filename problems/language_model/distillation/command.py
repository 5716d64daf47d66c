"""The command ``recover``. Imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, ClassVar

from pydantic import create_model

from evoprune import Exported
from evoprune.plugins import OPTION, Command, add_options, add_set, check_parameters, is_one_file, read_declared
from evoprune.problems.language_model.commands import export_resumably, open_run
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.parts import Export

RecoverOptions = create_model("RecoverOptions", __base__=(RecoverSettings, Export.ExportOptions))
"""Options of the command ``recover``: of the training, and of the export after it."""


class Recover(Command):
    """Train a smaller model towards the predictions of the dense model; continue an interrupted training."""

    help: ClassVar[str] = "train a run's result back towards its dense model"
    example: ClassVar[str] = "python -m evoprune recover runs/a-20260101-120000-4711 --out recovered --time 20m"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN_DIR", type=Path, help="the folder of a finished run")
        out = "the folder to make, or a file such as OUT.gguf; one that holds anything is refused"
        parser.add_argument("--out", type=Path, required=True, help=out)
        add_set(parser, "override a key of the run's experiment")
        add_options(parser, RecoverOptions.model_fields)

    @classmethod
    def call(cls, options: argparse.Namespace) -> None:
        checked: Any = check_parameters(RecoverOptions, read_declared(options), OPTION)
        run = open_run(options.run, options.set)

        def write(workplace: Path, place: Path) -> Exported:
            from evoprune.problems.language_model.distillation.recovery import Distillation
            from evoprune.problems.language_model.results.final_model import final_model

            problem: Any = run.problem
            result: Any = run.result
            recovery = Distillation(problem.session, checked, problem.baselines.compared)
            final = final_model(problem.session, run.best.genome, result)
            return recovery.export(final, result, workplace, place, Export.format(place))

        provenance = {"seed": run.resolved.experiment.seed, "best": run.best.model_dump()}
        config, is_file = run.resolved.config(), is_one_file(Export, options.out)
        print(*export_resumably(options.out, write, provenance, config, is_file).lines(options.out), sep="\n")
