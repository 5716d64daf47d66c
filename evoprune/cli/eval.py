"""``evoprune eval SOURCE``: measure a run's result beside the known solutions, or what else a problem measures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from evoprune.api import Run, is_run
from evoprune.cli import experiment, problem_options
from evoprune.errors import InputError
from evoprune.experiment import registry
from evoprune.experiment.plugin_parameters import check_parameters
from evoprune.formatting import aligned, plain
from evoprune.parts import Measuring, Table


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "eval",
        help="measure a run's result, or what else a problem measures",
        description=__doc__,
        epilog="example: python -m evoprune eval pruned --text mine.txt --window 512 --windows 8",
    )
    parser.add_argument("source", metavar="SOURCE", help="a run's folder, or what an installed problem can measure")
    parser.add_argument("--problem", help="what measures a SOURCE that is no run (default: the one problem that can)")
    experiment.add_set(parser, "override a key of the run's experiment")
    parser.add_argument("--json", action="store_true", help="print JSON")
    problem_options.add(parser, "EvalOptions")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Measure what ``options`` name."""
    given = problem_options.given(options)
    if is_run(options.source):
        table = Run.open(options.source, options.set).compare(**given)
    else:
        _refuse_what_is_a_runs(options)
        problem = _problem(options)
        table = problem.measure(options.source, check_parameters(problem.EvalOptions, given, "options"))
    if options.json:
        print(json.dumps({"rows": [dict(row) for row in table.rows], "protocol": dict(table.protocol)}, indent=2))
    else:
        print(*_lines(table), sep="\n")


def _refuse_what_is_a_runs(options: argparse.Namespace) -> None:
    """Raise :class:`evoprune.InputError` where ``options``, which name no run, were meant for one."""
    meant = Path("runs") / options.source
    if options.source and not options.problem and is_run(meant) and not Path(options.source).exists():
        raise InputError(f"no such run here; did you mean {meant}? If not, give --problem too", options.source)
    if options.set:
        raise InputError(f"changes a run's experiment, and '{options.source}' is no run", "--set")


def _problem(options: argparse.Namespace) -> type[Measuring]:
    """The problem that measures what ``options`` name. Raises :class:`evoprune.InputError` unless there is one."""
    if options.problem:
        problem = registry.problem(options.problem)
        if not issubclass(problem, Measuring):
            raise InputError(f"the problem {options.problem} has nothing to measure", "--problem")
        return problem
    found = {name: problem for name, problem in _measuring() if problem.measures(options.source)}
    if not found:
        raise InputError("is no run's folder, and no installed problem can measure it", options.source)
    if len(found) > 1:
        raise InputError(f"several problems can measure it: {', '.join(found)}; choose with --problem", options.source)
    return next(iter(found.values()))


def _measuring() -> Iterator[tuple[str, type[Measuring]]]:
    for name in sorted(registry.names(registry.PROBLEMS)):
        with suppress(InputError):  # it cannot be imported, which is reported when it is used
            problem = registry.problem(name)
            if issubclass(problem, Measuring):
                yield name, problem


def _lines(table: Table) -> Iterator[str]:
    """The rows under their keys, aligned, then the protocol."""
    names = list(table.rows[0])
    texts = ([f"{row[name]:.2%}" if name in table.shares else plain(row[name]) for name in names] for row in table.rows)
    yield from aligned([names, *texts])
    yield ""
    for name, value in table.protocol.items():
        yield f"{name}: {plain(value)}"
