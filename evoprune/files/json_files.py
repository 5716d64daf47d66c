"""Files that are written whole or not at all, and JSON that is checked when it is read."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from evoprune.errors import InputError

PART = ".tmp"
"""The suffix of what is being written; a killed process leaves it."""


def write_text(path: Path, text: str) -> None:
    """Write ``text`` so that ``path`` holds what it held or all of it, never a part."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}{PART}")  # two processes may write a page at once
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # a full disk needs its room


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` so that ``path`` holds the old text or the new one, never a part."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, expected: str = "") -> dict[str, Any]:
    """The object in ``path``. Raises :class:`InputError` for whatever else is there.

    ``expected``: what its folder should be, as in ``the folder of a run``, for the message where there is no such file.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        told = f"; expected {expected}" if expected else ""
        raise InputError(f"there is no {path.name}{told}", str(path.parent)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"is not JSON that can be read: {str(error)[:80]}", str(path)) from None
    if not isinstance(value, dict):
        raise InputError(f"expected an object, got a {type(value).__name__}", str(path))
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def finite(value: float) -> float | None:
    """``value``, or None (JSON's null) where it is infinite or not a number."""
    return value if math.isfinite(value) else None
