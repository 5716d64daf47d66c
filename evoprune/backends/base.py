"""The interface of backends, which score genomes in any order; and the serial backend."""

import itertools
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from evoprune.console.errors import Stopped
from evoprune.interfaces.problem import Evaluation

Genomes = Sequence[Sequence[float]]

Scorer = Callable[[Genomes], list[Evaluation]]

Scores = list[Evaluation] | Evaluation
"""Scores of the genomes of a call, or the failure of all."""

_POLL = 1.0  # seconds between two checks for a stall
_TRIES = 2  # of an evaluation that fails
_LEAST, _FIRST = 60.0, 3600.0  # seconds without a result that are no stall; before the first one


@dataclass(frozen=True)
class Call:
    """An evaluation of one genome, or of several. ``avoid``: the worker that failed at it before, if any."""

    number: int
    function: Scorer
    genomes: Genomes
    avoid: str = ""


class Lost(Stopped):
    """No more results arrive, for the given reason."""


class Backend(AbstractContextManager["Backend"], ABC):
    """Evaluates genomes, up to ``workers`` at the same time. The toolbox registers :meth:`map` as ``map``.

    ``stall_after``: seconds without a result after which :meth:`map` raises ``Lost``; None: an hour before the first
    result, then ten times the slowest evaluation so far, at least ``slowest``.
    """

    workers: int

    def __init__(self, stall_after: float | None = None, slowest: float = 0.0) -> None:
        self._stall_after, self._slowest, self._answered = stall_after, slowest, False
        self._at_once = 1
        self._numbers = itertools.count()
        self._calls: deque[Call] = deque()

    def submit(self, call: Call) -> None:
        self._calls.append(call)

    @abstractmethod
    def completed(self, timeout: float) -> list[tuple[int, Scores]]:
        """Return numbers and results of completed calls, lost ones as a failure, after at most ``timeout`` seconds."""

    def at_work(self) -> AbstractContextManager[None]:
        """A context to use around :meth:`map`; outside it, the backend draws no global random numbers."""
        return nullcontext()

    def close(self) -> None:
        """End all processes of the backend."""

    def __exit__(self, *_: object) -> None:
        self.close()

    def share(self, genomes: int) -> int:
        return math.ceil(genomes / self.workers)

    def map(
        self, function: Scorer, genomes: Genomes, slower: float = 1.0, batch: bool = False,
        claim: Callable[[int], bool] | None = None,
    ) -> Iterator[tuple[int, Evaluation]]:  # fmt: skip
        """Yield ``(index, score)`` of each genome as they are ready; try a failure twice. Raises ``Lost``.

        ``function`` gets one genome; with ``batch``, a worker's share of the genomes, and each failure alone.
        ``claim``: called with an index when a worker is free for it; False omits the genome.
        """
        self._slowest *= slower
        self._at_once = max(1, self.share(len(genomes))) if batch else 1
        waiting: dict[int, int] = {}  # genomes without a score: how often each was tried
        calls: dict[int, Sequence[int]] = {}  # calls that are running: the genomes of each

        def hand_out(indices: Sequence[int], avoid: str = "") -> None:
            given = tuple(tuple(genomes[index]) for index in indices)
            call = Call(next(self._numbers), function, given, avoid)
            calls[call.number] = indices
            for index in indices:
                waiting[index] = waiting.get(index, 0) + 1
            self.submit(call)

        shares = iter(range(len(genomes))[at : at + self._at_once] for at in range(0, len(genomes), self._at_once))

        def fill() -> None:
            while (claim is None or len(calls) < self.workers) and (share := next(shares, None)):
                if indices := [index for index in share if claim is None or claim(index)]:
                    hand_out(indices)

        fill()
        while waiting:
            for number, scores in self._next_results():
                indices = calls.pop(number, ())
                singles = scores if isinstance(scores, list) else [scores] * len(indices)  # a common failure
                for index, evaluation in zip(indices, singles, strict=False):
                    if index not in waiting:  # a second answer: a worker was wrongly considered dead
                        continue
                    self._slowest = max(self._slowest, evaluation.seconds)
                    if evaluation.failure and waiting[index] < _TRIES:
                        hand_out([index], evaluation.worker)
                    else:
                        del waiting[index]
                        yield index, evaluation
            fill()

    def _next_results(self) -> list[tuple[int, Scores]]:
        """Return the next results. Raises :class:`Lost` if none arrive for too long."""
        start = time.monotonic()
        while not (results := self.completed(_POLL)):
            waited = time.monotonic() - start
            if waited > self.stall_after:
                raise Lost(f"no result for {waited:.0f} s; give --stall-after SECONDS if evaluations may take longer")
        self._answered = True
        return results

    @property
    def stall_after(self) -> float:
        return self._stall_after or max(_LEAST if self._answered else _FIRST, 10 * self._slowest * self._at_once)


class Serial(Backend):
    """One evaluation after the other, in this process."""

    workers = 1

    def completed(self, timeout: float) -> list[tuple[int, Scores]]:  # noqa: ARG002 - nothing to wait for
        call = self._calls.popleft()
        return [(call.number, call.function(call.genomes))]
