"""``evoprune eval MODEL_OR_RUN``: measure a run's result beside the known solutions, or any one model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evoprune.api import Run, check_options, is_run
from evoprune.cli import experiment, problem_options
from evoprune.errors import InputError
from evoprune.experiment import registry
from evoprune.plain_text import aligned, plain
from evoprune.problem import Table


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "eval",
        help="measure a run's result or a model",
        description=__doc__,
        epilog="example: python -m evoprune eval pruned --text mine.txt --window 512 --windows 8",
    )
    parser.add_argument("what", metavar="MODEL_OR_RUN", help="a run's folder; or a model: folder, hub id or .gguf file")
    parser.add_argument("--problem", default="pruning", help="what a model is measured by (default: %(default)s)")
    experiment.add_set(parser, "override a key of the run's experiment")
    parser.add_argument("--json", action="store_true", help="print JSON")
    problem_options.add(parser, "EvalOptions")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Measure what ``options`` name."""
    given = problem_options.given(options)
    if is_run(options.what):
        table = Run.open(options.what, options.set).compare(**given)
    else:
        _refuse_what_is_a_runs(options)
        problem = registry.problem(options.problem)
        table = problem.measure(options.what, check_options(problem.EvalOptions, given))
    if options.json:
        print(json.dumps({"rows": [dict(row) for row in table.rows], "protocol": dict(table.protocol)}, indent=2))
    else:
        print(*_lines(table), sep="\n")


def _refuse_what_is_a_runs(options: argparse.Namespace) -> None:
    """Raise :class:`evoprune.InputError` where ``options``, which name no run, were meant for one."""
    meant = Path("runs") / options.what
    if options.what and is_run(meant) and not Path(options.what).exists():
        raise InputError(
            f"no such run here; did you mean {meant}? For a model of the hub give OWNER/NAME", options.what
        )
    if options.set:
        raise InputError(f"changes a run's experiment, and '{options.what}' is no run", "--set")


def _lines(table: Table) -> Iterator[str]:
    """The rows under their keys, aligned, then the protocol."""
    names = list(table.rows[0])
    told = ([f"{row[name]:.2%}" if name in table.shares else plain(row[name]) for name in names] for row in table.rows)
    yield from aligned([names, *told])
    yield ""
    for name, value in table.protocol.items():
        yield f"{name}: {plain(value)}"
