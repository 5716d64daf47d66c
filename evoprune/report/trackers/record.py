"""What trackers are given of a run, and what a tracker is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprune import api
from evoprune.console.formatting import flat
from evoprune.errors import InputError
from evoprune.interfaces.result import Result
from evoprune.records import recorded
from evoprune.records.history import is_generation
from evoprune.records.run_folder import HISTORY, RESULT


@dataclass(frozen=True)
class Record:
    """A run as it stands. A step is a generation."""

    folder: Path
    config: Mapping[str, Any]
    """The experiment, by dotted key."""
    generations: list[dict[str, Any]]
    """The lines of the history on whole generations."""
    result: Mapping[str, float]
    """The numbers of ``result.json``, by dotted key; none before the run is done."""
    began: float
    """When the search began, in seconds since 1970."""

    @property
    def ident(self) -> str:
        """Always the same for this run, so that a tracker may tell it from all others."""
        return hashlib.sha256(f"{self.folder.resolve()} {self.config}".encode()).hexdigest()[:16]


Tracker = Callable[[Record], str]
"""Writes a record, and returns how to look at it. Raises :class:`InputError` where its package is missing."""


def record(folder: Path) -> Record:
    """The run in ``folder``. Raises :class:`InputError` where no generation is complete."""
    lines = [line for line in recorded.lines(folder / HISTORY) if is_generation(line)]
    if not lines:
        raise InputError("no generation is complete; there is nothing to write", str(folder))
    began = (folder / HISTORY).stat().st_mtime - lines[-1]["seconds"]
    result = recorded.read_result(folder, Result).as_json() if (folder / RESULT).exists() else {}
    numbers = {k: v for k, v in flat(result).items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return Record(folder, flat(api.read_experiment(folder).config()), lines, numbers, began)


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """Tag to value of what a generation's ``line`` tells, less what is infinite."""
    low, high = line.get("quartiles") or (None, None)
    found = {f"fitness/{name}": line.get(name) for name in ("best", "median", "worst")}
    found |= {"fitness/lower quartile": low, "fitness/upper quartile": high}
    found |= {f"search/{name}": line.get(name) for name in ("evaluations", "work", "idle")}
    return {tag: float(value) for tag, value in found.items() if isinstance(value, (int, float))}
