"""The commands ``export`` and ``eval``, which use the result of a run."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.cli.options import add_command, add_declared, measuring
from evoprune.cli.uploads import push, refuse_unready
from evoprune.console.errors import InputError
from evoprune.console.formatting import aligned, plain
from evoprune.console.progress import Progress
from evoprune.experiment.explain import OPTION
from evoprune.experiment.options import add_set, read_declared
from evoprune.experiment.parameters import check_parameters
from evoprune.interfaces.export import Table
from evoprune.records.run_folder import has_experiment

_WIDE = 8  # columns; a table with more is turned


def add_export(commands: Any) -> None:
    example = "python -m evoprune export runs/gpt2_mini-20260101-120000-4711 pruned --dtype float16"
    parser = add_command(commands, export, "write a run's best candidate for other tools", example)
    parser.add_argument("run", metavar="RUN_DIR", help="the folder of a finished run")
    about = "the folder to make, or a file with a suffix that the problem knows; it must not exist"
    parser.add_argument("out", metavar="OUT", type=Path, help=about)
    add_set(parser, "override a key of the run's experiment, as in problem.model=where/it/is/now or problem.device=cpu")
    parser.add_argument(
        "--push",
        metavar="OWNER/NAME",
        help="upload it to this repository of the Hugging Face hub, which is made, private, if it is not there; "
        "evoprune.json and experiment.yaml hold the names of your files",
    )
    add_declared(parser, "ExportOptions")


def export(options: argparse.Namespace) -> None:
    """Write a run's best candidate in a form that other tools use, and check it."""
    if options.push:
        refuse_unready(options.push)
    exported = Run.open(options.run, options.set).export(options.out, **read_declared(options))
    print(*exported.lines(options.out), sep="\n")
    if options.push:
        print(f"uploaded: {push(options.out, options.push)}")


def add_eval(commands: Any) -> None:
    example = "python -m evoprune eval pruned --text mine.txt --window 512 --windows 8"
    parser = add_command(commands, evaluate, "measure a run's result, or what else a problem measures", example, "eval")
    parser.add_argument("source", metavar="SOURCE", help="a run's folder, or what an installed problem can measure")
    add_set(parser, "override a key of the run's experiment")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_declared(parser, "EvalOptions")


def evaluate(options: argparse.Namespace) -> None:
    """Measure a run's result and the known solutions, or another source that a problem can measure."""
    measure_options = read_declared(options)
    if has_experiment(options.source):
        table = Run.open(options.source, options.set).compare(**measure_options)
    else:
        similar = Path("runs") / options.source
        if options.source and has_experiment(similar) and not Path(options.source).exists():
            raise InputError(f"no such run here; did you mean {similar}?", options.source)
        if options.set:
            raise InputError(f"changes a run's experiment, and '{options.source}' is no run", "--set")
        part = measuring(options.source)
        checked = check_parameters(part.EvalOptions, measure_options, OPTION)
        with Progress(f"measuring {options.source}"):
            table = part.measure(options.source, checked)
    if options.json:
        print(json.dumps({"rows": [dict(row) for row in table.rows], "protocol": dict(table.protocol)}, indent=2))
    else:
        print(*_lines(table), sep="\n")


def _lines(table: Table) -> Iterator[str]:
    names = list(table.rows[0])

    def shown(name: str, value: Any) -> str:
        return f"{value:.2%}" if name in table.shares and value is not None else plain(value)

    head = [table.words.get(name, name) for name in names]
    lines = [head, *([shown(name, row[name]) for name in names] for row in table.rows)]
    yield from aligned(lines if len(names) <= _WIDE else [[*column] for column in zip(*lines, strict=True)])
    yield ""
    yield from (f"{table.words.get(name, name)}: {plain(value)}" for name, value in table.protocol.items())
