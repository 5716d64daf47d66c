"""Tables of numbers in CSV files."""

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Any

from evoprune.console.errors import InputError, cut_repr
from evoprune.files.json_files import parse_finite, read_text


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file. Raises :class:`InputError`."""
    try:
        return read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as text: {error}", str(path)) from None


def read_columns(path: Path, texts: Collection[str] = ()) -> dict[str, list[Any]]:
    """Return the columns of a CSV file with a header, by name: numbers, but for the columns in ``texts``.

    Blank lines, and lines that begin with ``#``, are left out. Raises :class:`InputError` with the line of a fault.
    """
    lines = [(number, line) for number, line in enumerate(read_lines(path), 1) if line.strip() and line[0] != "#"]
    rows = [(number, [cell.strip() for cell in next(csv.reader([line]))]) for number, line in lines]
    (at, names), *rows = rows or [(1, [])]
    if not rows or len({*names}) < len(names) or not all(names):
        raise InputError(f"line {at}: expected a header of different names, and rows below it", str(path))
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for number, cells in rows:
        if len(cells) != len(names):
            raise InputError(f"line {number}: expected {len(names)} values, got {len(cells)}", str(path))
        for name, cell in zip(names, cells, strict=True):
            try:
                columns[name].append(cell if name in texts else parse_finite(cell))
            except ValueError:
                raise InputError(f"line {number}: {name}: expected a number, got {cut_repr(cell)}", str(path)) from None
    return columns
