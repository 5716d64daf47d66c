"""Seconds and memory of each phase of a run.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.phases PROBLEM.yaml --set problem.model=MODEL

All arguments are those of ``evoprune run``. The run has this process to itself, in a folder that is deleted at the end.
Cached results are used, unless EVOPRUNE_CACHE names an empty folder. A phase is a state that the run reports, without
its numbers. A second table has the GB that phases asked for, and the growth of the process until the next one asked;
tensors that are streamed are no part of it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from evoprune.cli.main import main as evoprune
from evoprune.console.phase import listening
from evoprune.problems.language_model.models.memory import Room
from tests.benchmarks.common import head, row


class Phases:
    """Seconds, seconds of the processor, GB read from disk, and the most GB of anonymous memory, by phase."""

    def __init__(self) -> None:
        self._spent: dict[str, list[float]] = {}
        self._at = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), _number("io", "read_bytes") / 1e9

    def tell(self, state: str, seconds_left: float | None = None) -> None:
        """Count what passed since the last state for ``state``."""
        now, memory = self._now(), _number("status", "RssAnon") / 1e6
        spent = self._spent.setdefault(state.partition(":")[0].rstrip("0123456789 "), [0.0, 0.0, 0.0, 0.0])
        passed = [later - before for later, before in zip(now, self._at, strict=True)]
        spent[:] = [*(old + new for old, new in zip(spent[:3], passed, strict=True)), max(spent[3], memory)]
        self._at = now

    def table(self) -> str:
        """Return a row for each phase, in the order of their begin."""
        rows = [row(phase, *(f"{number:.2f}" for number in own)) for phase, own in self._spent.items()]
        return "\n".join([head("phase", "seconds", "of the processor", "GB read", "GB of anonymous memory"), *rows])


class Asked:
    """Notes each question for memory, and the growth of the process after it, seen every 20 ms."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, float, float, bool]] = []
        self._grown: list[float] = []
        self._before, self._of = 0.0, Room.of
        Thread(target=self._watch, daemon=True).start()

    def of(self, phase: str, device: Any, tensors: float, beside: float = 0.0, *more: Any, **named: Any) -> Room:
        """Answer as :class:`Room` does."""
        found = self._of(phase, device, tensors, beside, *more, **named)
        self._before = _number("status", "RssAnon") / 1e6
        self._rows.append((phase, tensors / 1e9, beside / 1e9, found.resident))
        self._grown.append(0.0)
        return found

    def _watch(self) -> None:
        while True:
            if self._grown:
                self._grown[-1] = max(self._grown[-1], _number("status", "RssAnon") / 1e6 - self._before)
            time.sleep(0.02)

    def table(self) -> str:
        """Return a row for each question."""
        rows = [
            row(phase, f"{tensors:.3f}", "memory" if resident else "streamed", f"{beside:.3f}", f"{grown:.3f}")
            for (phase, tensors, beside, resident), grown in zip(self._rows, self._grown, strict=True)
        ]
        return "\n".join([head("phase", "GB of tensors", "place", "GB beside", "growth"), *rows])


def _number(file: str, name: str) -> int:
    """Return the number of this process that Linux lists under ``name``; kB in ``status``."""
    lines = Path("/proc/self", file).read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def main() -> None:
    """Print the tables of a run."""
    phases, asked = Phases(), Asked()
    Room.of = asked.of  # type: ignore[assignment, method-assign]
    with TemporaryDirectory(prefix="runs-") as home, listening(phases.tell):
        evoprune(["run", *sys.argv[1:], "--runs-dir", home, "--name", "phases"])
        phases.tell("ending")
    print(phases.table(), asked.table(), sep="\n\n")


if __name__ == "__main__":
    main()
