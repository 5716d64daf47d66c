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
from tempfile import TemporaryDirectory

from evoprune.cli.main import main as evoprune
from evoprune.console.phase import listening


class Phases:
    """Adds up wall and processor seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}
        self._at = time.perf_counter(), time.process_time()

    def tell(self, state: str, seconds_left: float | None = None) -> None:
        """What passed since the last state belongs to ``state``."""
        now = time.perf_counter(), time.process_time()
        phase = state.partition(":")[0].rstrip("0123456789 ")
        before = self.seconds.get(phase, (0.0, 0.0))
        self.seconds[phase] = before[0] + now[0] - self._at[0], before[1] + now[1] - self._at[1]
        self._at = now

    def table(self) -> str:
        """A row for each phase, in the order of their begin."""
        rows = [f"| {phase} | {wall:.1f} | {cpu:.1f} |" for phase, (wall, cpu) in self.seconds.items()]
        return "\n".join(["| phase | seconds | of the processor |", "|---|---|---|", *rows])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    phases = Phases()
    with TemporaryDirectory(prefix="runs-") as home, listening(phases.tell):
        evoprune(["run", *(sys.argv[1:] if arguments is None else arguments), "--runs-dir", home, "--name", "phases"])
        phases.tell("ending")
    print(phases.table())


if __name__ == "__main__":
    main()
