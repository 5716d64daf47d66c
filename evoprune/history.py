"""``history.jsonl``: one JSON object a line, appended as things happen.

Lines of three kinds, told apart by their first key:

``{"reference": name, "genome", "fitness", ...}``
    a known solution that is scored beside the search;
``{"candidate": number, "generation", "parents", "genome", "fitness", ...}``
    a candidate, in the order of breeding; ``fitness`` holds null where it failed, and
    ``failure`` says why; ``memo`` is true where its genome was scored before;
``{"generation": number, "best", "median", "quartiles", "worst", ...}``
    the population's fitness (first objective) after each generation.

Only keys named ``seconds`` differ between two runs of one configuration and seed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from evoprune.problem import Evaluation


class History:
    """Appends lines to a history file; each line reaches the file whole."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append ``record``."""
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def scored(evaluation: Evaluation) -> dict[str, Any]:
    """The part of a line that tells how a genome scored. Numbers that JSON lacks become null."""
    record: dict[str, Any] = {"fitness": [finite(value) for value in evaluation.values], "work": evaluation.work}
    if evaluation.measures:
        record["measures"] = dict(evaluation.measures)
    if evaluation.failure:
        record["failure"] = evaluation.failure
    return record | {"seconds": round(evaluation.seconds, 6)}


def finite(value: float) -> float | None:
    """``value``, or None where it is infinite or not a number."""
    return value if math.isfinite(value) else None


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of the history at ``path``."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def without_times(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """``records`` less what may differ between two runs of one configuration and seed."""
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]
