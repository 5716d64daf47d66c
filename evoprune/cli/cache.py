"""``evoprune cache``: what is kept for later runs because it takes long to compute, such as levels of weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tqdm import tqdm

from evoprune.console.formatting import aligned
from evoprune.files.cache import Entry, cache_folder, cache_limit, clear, entries


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "cache",
        help="list what is kept for later runs, or delete it",
        description=__doc__,
        epilog="The folder is EVOPRUNE_CACHE, its limit EVOPRUNE_CACHE_GB; example: python -m evoprune cache --clear",
    )
    parser.add_argument("--clear", action="store_true", help="delete all that no process uses")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """List the files, after deleting them if ``options`` say so."""
    if options.clear:
        gone = clear()
        if not options.json:
            print(f"deleted: {len(gone)} files, {_size(gone)}")
    kept = entries()
    if options.json:
        print(json.dumps([asdict(entry) | {"path": str(entry.path)} | entry.about() for entry in kept], indent=2))
    else:
        print(*_lines(kept), sep="\n")


def _lines(kept: Sequence[Entry]) -> Iterator[str]:
    if kept:
        yield from aligned([["what", "model", "size", "last used"], *map(_cells, reversed(kept))])
    most = tqdm.format_sizeof(cache_limit(), "B")
    yield f"{len(kept)} files, {_size(kept)} of at most {most}, in {cache_folder()}"


def _cells(entry: Entry) -> list[str]:
    about = entry.about()
    used = datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
    return [about.get("what", "damaged"), about.get("model", "-"), _size([entry]), used]


def _size(some: Sequence[Entry]) -> str:
    return str(tqdm.format_sizeof(sum(entry.bytes for entry in some), "B"))
