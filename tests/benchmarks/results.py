"""A file of results that a benchmark completes: a line of JSON for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evoprune import InputError

Line = dict[str, Any]


class Results:
    """The lines of a file, all of the same ``settings``. Raises InputError where it has lines of others."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path, self._settings = path, settings
        self.lines: list[Line] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        if any(line.get("settings") != settings for line in self.lines):
            raise InputError(f"{path} holds results of other settings; give another file")

    def lacks(self, **what: Any) -> bool:
        """Whether no line is of ``what``."""
        return not any(what.items() <= line.items() for line in self.lines)

    def add(self, line: Line) -> None:
        """Keep ``line``."""
        self.lines.append(line | {"settings": self._settings})
        with self._path.open("a") as file:
            file.write(json.dumps(self.lines[-1]) + "\n")
