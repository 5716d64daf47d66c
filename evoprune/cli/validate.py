"""``evoprune validate PROBLEM.yaml``: check an experiment without running anything, and say what it will need."""

from __future__ import annotations

import argparse
from typing import Any

from evoprune.backends.evaluation import limit_threads
from evoprune.cli import execution, experiment
from evoprune.console.phase import Phase
from evoprune.errors import InputError
from evoprune.experiment.resolve import refuse_missing
from evoprune.interfaces.parts import Foreseeing


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "validate",
        help="check an experiment, and say what it will need",
        description=__doc__,
        epilog="example: python -m evoprune validate problems/gpt2_mini.yaml --measure",
    )
    experiment.add_arguments(parser)
    parser.add_argument(
        "--measure", action="store_true", help="say what the run will need: minutes, memory, disk; loads the model"
    )
    execution.add_arguments(parser)
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Check the experiment that ``options`` name."""
    resolved = experiment.read(options)
    refuse_missing(resolved, options.file)
    if not options.measure:
        print(f"{options.file}: valid (data are not read; --measure says what it will need)")
        return
    asked, kind = resolved.experiment, resolved.problem
    if not issubclass(kind, Foreseeing):
        raise InputError(f"the problem {asked.problem.use} has nothing to measure beforehand", "--measure")
    limit_threads(execution.read(options).with_threads().threads)
    with Phase("loading and measuring"):
        needs = kind.foresee(resolved.settings, asked.budget, asked.population * (asked.generations + 1))
    print(f"{options.file}: valid", *(f"{name}: {words}" for name, words in needs.items()), sep="\n")
