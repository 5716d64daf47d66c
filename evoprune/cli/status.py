"""The commands ``status``, of runs, and ``cache``, of the files kept for later ones."""

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evoprune.cli.options import add_command
from evoprune.console.formatting import aligned, interval, plain
from evoprune.errors import InputError
from evoprune.files.cache import Entry, cache_folder, cache_limit, clear, entries
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
        "work per second": "-" if status.rate is None else tqdm.format_sizeof(status.rate),
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


def add_cache(commands: Any) -> None:
    example = "python -m evoprune cache --clear"
    parser = add_command(commands, cache, "list the files kept for later runs, or delete them", example)
    parser.add_argument("--clear", action="store_true", help="delete all that no process uses")
    parser.add_argument("--json", action="store_true", help="print JSON")


def cache(options: argparse.Namespace) -> None:
    """List or delete the cached files that take long to compute.

    EVOPRUNE_CACHE sets their folder, and EVOPRUNE_CACHE_GB limits its size.
    """
    if options.clear:
        gone = clear()
        if not options.json:
            print(f"deleted: {len(gone)} files, {_size(gone)}")
    kept = entries()
    if options.json:
        print(json.dumps([asdict(entry) | {"path": str(entry.path)} | entry.about() for entry in kept], indent=2))
    else:
        rows = [["what", "model", "size", "last used"]]
        for entry in reversed(kept):
            about, used = entry.about(), datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
            rows.append([about.get("what", "damaged"), about.get("model", "-"), _size([entry]), used])
        most = tqdm.format_sizeof(cache_limit(), "B")
        total = f"{len(kept)} files, {_size(kept)} of at most {most}, in {cache_folder()}"
        print(*(aligned(rows) if kept else []), total, sep="\n")


def _size(some: Sequence[Entry]) -> str:
    return str(tqdm.format_sizeof(sum(entry.bytes for entry in some), "B"))
