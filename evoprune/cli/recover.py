"""``evoprune recover SOURCE --out FOLDER``: train a smaller model to predict what its dense model predicts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.cli import experiment, problem_options
from evoprune.errors import InputError
from evoprune.experiment.explain import OPTION
from evoprune.experiment.parameters import check_parameters
from evoprune.exports.exporting import refuse_unless_free
from evoprune.exports.recovering import recover_export
from evoprune.interfaces.export import Recovering
from evoprune.records.run_folder import has_experiment


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "recover",
        help="train a run's result, or an exported model, back towards its dense model",
        description=f"{__doc__} The same command continues one that was interrupted.",
        epilog="example: python -m evoprune recover runs/a-20260101-120000-4711 --out recovered --time 20m",
    )
    parser.add_argument("source", metavar="SOURCE", help="the folder of a finished run, or of an exported model")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the folder to make, or of a run a file such as OUT.gguf; one that holds anything is refused",
    )
    parser.add_argument("--problem", help="what recovers a SOURCE that is no run (default: the one problem that can)")
    experiment.add_set(parser, "override a key of the run's experiment")
    problem_options.add(parser, "RecoverOptions")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Recover what ``options`` name."""
    refuse_unless_free(options.out)
    given = problem_options.given(options)
    if has_experiment(options.source):
        recovered = Run.open(options.source, options.set).recover(options.out, **given)
    elif options.set:
        raise InputError("changes a run's experiment, and SOURCE is no run; leave it out", "--set")
    else:
        problem = problem_options.problem_of(options, Recovering)  # type: ignore[type-abstract]
        checked = check_parameters(problem.RecoverOptions, given, OPTION)
        recovered = recover_export(problem, Path(options.source), options.out, checked)
    print(*recovered.summary, sep="\n")
    print(f"written and checked: {options.out}")
