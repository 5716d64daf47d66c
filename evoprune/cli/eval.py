"""The command ``eval``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.cli.options import add_command, add_declared, add_set, problem_of, read_declared
from evoprune.console.formatting import aligned, plain
from evoprune.console.phase import Phase
from evoprune.errors import InputError
from evoprune.experiment.explain import OPTION
from evoprune.experiment.parameters import check_parameters
from evoprune.interfaces.export import Measuring, Table
from evoprune.records.run_folder import has_experiment


def add_eval(commands: Any) -> None:
    """Add the command ``eval``."""
    example = "python -m evoprune eval pruned --text mine.txt --window 512 --windows 8"
    parser = add_command(commands, evaluate, "measure a run's result, or what else a problem measures", example, "eval")
    parser.add_argument("source", metavar="SOURCE", help="a run's folder, or what an installed problem can measure")
    parser.add_argument("--problem", help="what measures a SOURCE that is no run (default: the one problem that can)")
    add_set(parser, "override a key of the run's experiment")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_declared(parser, "EvalOptions")


def evaluate(options: argparse.Namespace) -> None:
    """Measure a run's result beside the known solutions, or what else a problem measures."""
    given = read_declared(options)
    if has_experiment(options.source):
        table = Run.open(options.source, options.set).compare(**given)
    else:
        _refuse_what_is_a_runs(options)
        problem = problem_of(options, Measuring)  # type: ignore[type-abstract]
        checked = check_parameters(problem.EvalOptions, given, OPTION)
        with Phase(f"measuring {options.source}"):
            table = problem.measure(options.source, checked)
    if options.json:
        print(json.dumps({"rows": [dict(row) for row in table.rows], "protocol": dict(table.protocol)}, indent=2))
    else:
        print(*_lines(table), sep="\n")


def _refuse_what_is_a_runs(options: argparse.Namespace) -> None:
    """Refuse ``options`` that name no run, but were meant for one."""
    meant = Path("runs") / options.source
    if options.source and not options.problem and has_experiment(meant) and not Path(options.source).exists():
        raise InputError(f"no such run here; did you mean {meant}? If not, give --problem too", options.source)
    if options.set:
        raise InputError(f"changes a run's experiment, and '{options.source}' is no run", "--set")


def _lines(table: Table) -> Iterator[str]:
    """The rows under their keys, aligned, then the protocol."""
    names = list(table.rows[0])
    texts = ([f"{row[name]:.2%}" if name in table.shares else plain(row[name]) for name in names] for row in table.rows)
    yield from aligned([names, *texts])
    yield ""
    yield from (f"{name}: {plain(value)}" for name, value in table.protocol.items())
