"""``history.jsonl``: one JSON object a line, appended as things happen. It is the run's checkpoint.

Lines of four kinds, distinguished by their first key:

``{"reference": name, "genome", "fitness", ...}``
    a known solution;
``{"candidate": number, "generation", "parents", "genome", "fitness", ...}``
    a candidate, in the order of breeding; ``fitness`` holds null where it failed, and ``failure`` says why;
    ``memo`` is true where its genome was scored before, ``fidelity`` is the share of the data if below 1, ``probe`` is
    true for a candidate that cannot win, ``sample`` is the number of the sample where there is noise, and
    ``violation`` is the violation of constraints, if any;
``{"generation": number, "best", "median", "quartiles", "worst", ..., "idle"}``
    the population's fitness (first objective) after each generation, and the idle share of the workers' time;
``{"finalist": number or name, "genome", "fitness", ...}``
    after the search, a candidate, by its number, or a known solution, by its name; ``fitness`` is its judgement in
    the finals, or its score on a ``sample`` of the final race.

A score that arrives before its turn waits for it in ``ahead.jsonl``. Only the keys in
:data:`VARYING` differ between two runs of one configuration and seed.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import orjson

from evoprune.console.errors import InputError
from evoprune.files.json_files import finite, sync_file
from evoprune.interfaces.problem import Evaluation
from evoprune.records.run_folder import AHEAD, HISTORY

Line = dict[str, Any]
_SYNC = 1.0  # seconds between two calls of fsync
_BUFFERED = 0.02  # most seconds that a candidate's line is buffered, which a kill loses

VARYING = frozenset({"seconds", "idle", "worker"})
"""Keys whose values differ between two runs of one configuration and seed."""


class History:
    """Appends whole lines to a run's history, the lines of quick candidates together.

    A resumed run writes all its lines again: each is compared with the next line of ``recorded``, and a difference
    raises :class:`InputError`. Nothing is changed before :meth:`go_live`, which calls ``before_first``.
    """

    def __init__(
        self, folder: Path, recorded: Sequence[Line] = (), before_first: Callable[[], object] = lambda: None
    ) -> None:
        self._path, self._ahead = folder / HISTORY, folder / AHEAD
        self._recorded = deque(recorded)
        self._before_first = before_first
        self._number = 0
        self._kept: int | None = None
        self._file: FileIO | None = None
        self._synced = self._written = -math.inf
        self._waiting: list[bytes] = []
        self.summary: list[Line] = []  # all lines but candidates
        self.live = False

    def close(self) -> None:
        self._flush()
        if self._file:
            self._file.close()

    def write(self, record: Line, sync: bool = False) -> None:
        """Append ``record``, or compare it with the recorded line; ``sync`` has it reach the disk, once a second."""
        if "candidate" not in record:
            self.summary.append(record)
        if self._recorded:
            self.expect([record])
        self._number += 1
        if self._recorded:
            self._recorded.popleft()
            return
        self.go_live()
        self._waiting.append(encode(record))
        now = time.monotonic()
        if sync or now - self._written > _BUFFERED:
            self._flush()
            self._written = now
        if sync and self._file and now - self._synced > _SYNC:
            sync_file(self._path)
            self._synced = now

    def _flush(self) -> None:
        lines, self._waiting = b"".join(self._waiting), []  # at once: a full disk is not asked twice
        if lines:
            self._file = self._file or FileIO(self._path, "ab")
            append(self._file, lines)

    def ahead(self, record: Line) -> None:
        """Store a score that arrived before its turn, until :meth:`caught_up`."""
        self.go_live()
        with FileIO(self._ahead, "ab") as file:
            append(file, encode(record))

    def caught_up(self) -> None:
        """Delete the scores that arrived before their turn: the history has them now."""
        if self.live:
            self._ahead.unlink(missing_ok=True)

    def expect(self, records: Iterable[Line]) -> None:
        """Raise :class:`InputError` if the next recorded lines differ from ``records``.

        Finals come last: where a run is lengthened, the finals of the shorter one are dropped.
        """
        if not self._recorded:
            return
        records = list(records)
        if records and self._recorded and "finalist" in self._recorded[0] and "finalist" not in records[0]:
            self._recorded.clear()
            self._kept = self._number
        for ahead, (record, earlier) in enumerate(zip(records, self._recorded, strict=False), 1):
            if "finalist" in earlier and "finalist" not in record:  # a budget ended the shorter run here
                return
            expected = orjson.loads(encode(record))
            differing = [key for key in expected if key not in VARYING and earlier.get(key, _absent) != expected[key]]
            if differing:
                raise InputError(
                    f"the run cannot be continued exactly: line {self._number + ahead} differs in '{differing[0]}' "
                    "from what the run would write now (code, operators or experiment changed); nothing was changed",
                    str(self._path),
                )

    @property
    def at_end(self) -> bool:
        return not self.live and not self._recorded

    def go_live(self) -> None:
        """From here on, the run writes. Raises :class:`InputError` if recorded lines are left."""
        if self._recorded:
            raise InputError(
                f"the run cannot be continued exactly: it would end before line {self._number + 1} (fewer "
                "generations, a smaller budget, or other code); nothing was changed",
                str(self._path),
            )
        if not self.live:
            self.live = True
            self._before_first()
            if self._kept is not None:
                with self._path.open("r+b") as file:
                    file.truncate(sum(len(file.readline()) for _ in range(self._kept)))


_absent = object()


def encode(record: Line) -> bytes:
    """Return ``record`` as a line; floats have the fewest digits that identify them."""
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def append(file: FileIO, lines: bytes) -> None:
    """Append ``lines`` in one piece; ``file`` has no buffer, which would keep a line that a full disk refused."""
    rest = memoryview(lines)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def is_generation(line: Line) -> bool:
    """Return whether ``line`` is of a generation; other lines have the score of a genome."""
    return {"reference", "candidate", "finalist"}.isdisjoint(line)


def may_win(line: Line) -> bool:
    """Return whether ``line`` is of a candidate that may be the result: on all the data, and no probe."""
    return "candidate" in line and line.get("fidelity", 1.0) == 1 and not line.get("probe", False)


def order(line: Line, signs: Sequence[float]) -> list[float]:
    """The key that sorts lines as a search does, worst first: by violation, then values, one for each of ``signs``."""
    return [-line.get("violation", 0.0), *(sign * value for sign, value in zip(signs, line["fitness"], strict=False))]


def scored(evaluation: Evaluation) -> Line:
    """Return the keys of a line with the score of a genome; numbers that JSON lacks become null."""
    record: Line = {"fitness": [finite(value) for value in evaluation.values], "work": evaluation.work}
    if evaluation.measures:
        record["measures"] = dict(evaluation.measures)
    if evaluation.violation:
        record["violation"] = evaluation.violation
    if evaluation.failure:
        record["failure"] = evaluation.failure
    if evaluation.worker:
        record["worker"] = evaluation.worker
    record["seconds"] = round(evaluation.seconds, 6)
    return record
