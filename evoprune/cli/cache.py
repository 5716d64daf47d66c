"""The command ``cache``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tqdm import tqdm

from evoprune.cli.options import add_command
from evoprune.console.formatting import aligned
from evoprune.files.cache import Entry, cache_folder, cache_limit, clear, entries


def add_cache(commands: Any) -> None:
    """Add the command ``cache``."""
    example = "python -m evoprune cache --clear"
    parser = add_command(commands, cache, "list the files kept for later runs, or delete them", example)
    parser.add_argument("--clear", action="store_true", help="delete all that no process uses")
    parser.add_argument("--json", action="store_true", help="print JSON")


def cache(options: argparse.Namespace) -> None:
    """List or delete the files that are kept for later runs because they take long to compute.

    Their folder is that of EVOPRUNE_CACHE, and EVOPRUNE_CACHE_GB limits its size.
    """
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
