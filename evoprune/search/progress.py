"""Shows how far a search is: the newest state, and a line for each generation, or a minute's last one in a log."""

import math
import time

from tqdm import tqdm

from evoprune.console.formatting import digits
from evoprune.console.progress import Progress
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.problem import Evaluation


class SearchProgress(Progress):
    """The progress of a run that searches, after ``seconds`` of a resumed one."""

    def __init__(self, generations: int, budget: float | None, work_unit: str, seconds: float = 0.0) -> None:
        super().__init__()
        self.now("scoring the known solutions")
        self._generations, self._budget, self._work_unit, self._seconds = generations, budget, work_unit, seconds
        self._start = time.perf_counter() - seconds
        self._evaluations, self._work = 0, 0.0
        self._number, self._size, self._before = 0, 0, 0
        self._best: Individual | None = None
        self._left = math.inf  # seconds, after the last generation
        self._pending = ""  # the line on the last generation, until it is written

    def reference(self, name: str, evaluation: Evaluation) -> None:
        """Show the score of a known solution; the time of the search begins after the last one."""
        self.note(f"reference {name}: {digits(evaluation.values[0])}")
        self._start = time.perf_counter() - self._seconds

    def candidate(self, best: Individual | None, evaluations: int, work: float) -> None:
        self._best, self._evaluations, self._work = best, evaluations, work
        self.now(self._scoring, self._left)

    def _scoring(self) -> str:
        done = f"{self._evaluations - self._before} of {self._size} candidates"
        return f"generation {self._number}: {done}, best {self._best_value()}, {self._rate()}{self._spent()}"

    def begin(self, number: int, candidates: int) -> None:
        self._size = candidates + (self._size if number == self._number else 0)
        if number != self._number:
            self._before = self._evaluations
        self._number = number
        self.now(f"generation {number}: scoring {self._size} candidates", self._left)

    def generation(self, number: int, median: float | None, limit: float | None) -> None:
        """Show the state after a generation. ``limit``: remaining seconds of the search."""
        elapsed = time.perf_counter() - self._start
        self._left = elapsed / max(1, self._evaluations) * self._size * (self._generations - number)
        if self._budget:
            self._left = min(self._left, elapsed * max(0.0, self._budget / max(1.0, self._work) - 1))
        self._left = max(0.0, min(self._left, math.inf if limit is None else limit))
        of = self._spent() or f"/{self._generations}"
        if not self._generations:  # nothing is searched
            return
        self._pending = (
            f"generation {number}{of}  evaluations {self._evaluations}  best {self._best_value()}"
            f"  median {'-' if median is None else digits(median)}  {tqdm.format_interval(self._left)} left"
        )
        if number == 0 or self._live or self.silent_for_long:
            self.flush()

    def flush(self) -> None:
        """Write the line on the last generation, unless it is written."""
        if self._pending:
            self.note(self._pending)
        self._pending = ""

    def _spent(self) -> str:
        return f", {min(1.0, self._work / self._budget):.0%} spent" if self._budget else ""

    def _best_value(self) -> str:
        return digits(self._best.fitness.values[0]) if self._best else "-"

    def _rate(self) -> str:
        rate = self._work / max(1e-9, time.perf_counter() - self._start)
        return f"{tqdm.format_sizeof(rate)} {self._work_unit}/s"
