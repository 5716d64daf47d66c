"""Seconds of each phase of a run: what surrounds the search, and the search.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.phases PROBLEM.yaml --set problem.model=MODEL

All arguments are those of ``evoprune run``. The run has this process to itself and stays in a folder that is deleted at
the end. What is known from earlier runs is used, unless EVOPRUNE_CACHE names an empty folder. A phase is what a run
says that it does, without its numbers; a second of it is one between two states that it told, half a second apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from evoprune.cli.main import main as evoprune
from evoprune.console.phase import listening


@dataclass
class _Spent:
    """Seconds, of the processor too, GB read from disk, and the most GB of anonymous memory."""

    wall: float = 0.0
    computed: float = 0.0
    read: float = 0.0
    memory: float = 0.0


class Phases:
    """Adds up by phase."""

    def __init__(self) -> None:
        self.spent: dict[str, _Spent] = {}
        self._at = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), _number("io", "read_bytes") / 1e9

    def tell(self, state: str, seconds_left: float | None = None) -> None:
        """What passed since the last state belongs to ``state``."""
        now = self._now()
        phase = state.partition(":")[0].rstrip("0123456789 ")
        spent = self.spent.setdefault(phase, _Spent())
        wall, computed, read = (later - before for later, before in zip(now, self._at, strict=True))
        memory = _number("status", "RssAnon") / 1e6
        spent.wall, spent.computed, spent.read = spent.wall + wall, spent.computed + computed, spent.read + read
        spent.memory = max(spent.memory, memory)
        self._at = now

    def table(self) -> str:
        """A row for each phase, in the order of their begin."""
        rows = [
            f"| {phase} | {own.wall:.1f} | {own.computed:.1f} | {own.read:.2f} | {own.memory:.2f} |"
            for phase, own in self.spent.items()
        ]
        head = "| phase | seconds | of the processor | GB read | GB of anonymous memory |"
        return "\n".join([head, "|---|---|---|---|---|", *rows])


def _number(file: str, name: str) -> int:
    """The number that Linux tells of this process under ``name``; kB in ``status``."""
    for line in Path("/proc/self", file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    phases = Phases()
    with TemporaryDirectory(prefix="runs-") as home, listening(phases.tell):
        evoprune(["run", *(sys.argv[1:] if arguments is None else arguments), "--runs-dir", home, "--name", "phases"])
        phases.tell("ending")
    print(phases.table())


if __name__ == "__main__":
    main()
