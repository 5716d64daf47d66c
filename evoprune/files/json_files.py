"""Files written atomically, and JSON that is checked when it is read."""

import json
import math
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO

from evoprune.console.errors import InputError

PART = ".tmp"  # the suffix of files that are being written; a killed process leaves them


@contextmanager
def atomically(path: Path, sync: bool = True, alone: bool = False) -> Iterator[Path]:
    """Yield the path of a new file that replaces ``path`` at the end, on the disk (``sync``), or is deleted.

    ``alone``: no other process writes ``path`` now, so unfinished files of killed processes are deleted.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")  # two processes may write one file at once
    if alone:
        for left in path.parent.glob(f"{escape(path.name)}.*{PART}"):
            left.unlink(missing_ok=True)
    try:
        yield part
        if sync:
            sync_file(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # a full disk needs its room
    if sync:
        sync_file(path.parent)


def sync_file(path: Path) -> None:
    """Have the file or folder reach the disk, unless it is in the temporary folder: that ends with the machine."""
    if path.absolute().is_relative_to(tempfile.gettempdir()):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def opened(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises :class:`InputError` for anything else: reading a pipe may never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise InputError("expected a file, got a folder, a pipe or a device", str(path))


def read_text(path: Path) -> str:
    """Return the text of a regular file; raises as :func:`opened`."""
    with opened(path) as file:
        return file.read().decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, atomically."""
    with atomically(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path``, atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, expected: str = "", missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the object in ``path``, or ``missing`` for no file. Raises :class:`InputError` for anything else.

    ``expected``: kind of folder, in words.
    """
    try:
        value = json.loads(read_text(path), parse_float=parse_finite, parse_constant=parse_finite)
    except (FileNotFoundError, NotADirectoryError):
        if missing is not None:
            return missing
        hint = f"; expected {expected}" if expected else ""
        raise InputError(f"there is no {path.name}{hint}", str(path.parent)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"is not JSON that can be read: {str(error)[:80]}", str(path)) from None
    if not isinstance(value, dict):
        raise InputError(f"expected an object, got a {type(value).__name__}", str(path))
    return value


def parse_finite(text: str) -> float:
    """``text`` as a float. Raises ValueError if it is infinite, as 1e400, or no number."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def finite(value: float) -> float | None:
    """``value``, or None (JSON's null) where it is infinite or not a number."""
    return value if math.isfinite(value) else None
