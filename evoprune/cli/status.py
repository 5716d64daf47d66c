"""The command ``status``."""

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evoprune.cli.options import add_command
from evoprune.console.formatting import aligned, interval, plain
from evoprune.errors import InputError
from evoprune.records.status import Status, find, look


def add_status(commands: Any) -> None:
    parser = add_command(commands, status, "show the state and progress of runs", "python -m evoprune status runs")
    told = "the folder of a run, or one with runs at any depth, such as an ablation (default: runs)"
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("runs")], metavar="RUN_DIR", help=told)
    parser.add_argument("--json", action="store_true", help="print JSON")


def status(options: argparse.Namespace) -> None:
    """Show the progress of runs, or of all runs in a folder."""
    runs = {run: folder for folder in options.folders for run in find(folder)}
    alone = list(runs) == options.folders
    found = [look(run) if alone and len(runs) == 1 else _look_or_say(run) for run in runs]
    if options.json:
        print(json.dumps([asdict(one) | {"folder": str(one.folder)} for one in found], indent=2))
    else:
        names = [str(run if alone else run.relative_to(folder)) for run, folder in runs.items()]
        print(*(_lines(found[0]) if alone and len(runs) == 1 else _table(found, names)), sep="\n")


def _look_or_say(folder: Path) -> Status:
    """One run that cannot be read must not hide the others."""
    try:
        return look(folder)
    except (InputError, OSError) as error:
        return Status(folder, "unreadable", str(error))


def _cells(status: Status) -> dict[str, str]:
    generation = "-" if status.generation is None else f"{status.generation}/{status.generations}"
    if status.budget:
        spent = min(1.0, status.work / status.budget)
        generation = f"{plain(status.generation)}, {spent:.0%} of the budget"
    return {
        "state": status.state,
        "generation": generation,
        "phase": plain(status.phase),
        "evaluations": str(status.evaluations),
        "best": plain(status.best),
        "time left": interval(status.seconds_left),
    }


def _lines(status: Status) -> Iterator[str]:
    yield f"run: {status.folder}"
    yield from (f"{name}: {cell}" for name, cell in _cells(status).items() if cell != "-")
    yield from _advice([status])


def _table(found: Sequence[Status], names: Sequence[str]) -> Iterator[str]:
    rows = [{"run": name} | _cells(status) for name, status in zip(names, found, strict=True)]
    yield from aligned([list(rows[0]), *(list(row.values()) for row in rows)])
    yield from _advice(found)


def _advice(found: Sequence[Status]) -> Iterator[str]:
    """Why runs ended early, and how to continue them."""
    for status in found:
        if status.reason and status.state != "done":
            yield f"{status.folder}: {status.reason}"
        if status.promised and status.state == "done":
            yield f"{status.folder}: its result is not exported yet"
        if status.resumable:
            yield f"to continue: python -m evoprune resume {shlex.quote(str(status.folder))}"
