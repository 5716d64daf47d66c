"""Seconds and memory of each phase of a run.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.phases PROBLEM.yaml --set problem.model=MODEL

All arguments are those of ``evoprune run``. The run has this process to itself, in a folder that is deleted at the end.
Cached results are used, unless EVOPRUNE_CACHE names an empty folder. A phase is a state that the run reports, without
its numbers.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from evoprune.cli.main import main as evoprune
from evoprune.console.phase import listening
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


def _number(file: str, name: str) -> int:
    """Return the number of this process that Linux lists under ``name``; kB in ``status``."""
    lines = Path("/proc/self", file).read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def main() -> None:
    """Print the table of a run."""
    phases = Phases()
    with TemporaryDirectory(prefix="runs-") as home, listening(phases.tell):
        evoprune(["run", *sys.argv[1:], "--runs-dir", home, "--name", "phases"])
        phases.tell("ending")
    print(phases.table())


if __name__ == "__main__":
    main()
