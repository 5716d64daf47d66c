"""What a backend is: somewhere to send genomes, from where scores come back as they are ready."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from evoprune.problem import Evaluation

Evaluate = Callable[[Sequence[float]], Evaluation]

_POLL = 1.0
"""Seconds between two looks at whether results still come."""


@dataclass(frozen=True)
class Call:
    """One evaluation to make. ``avoid``: the worker that failed at it before, if any."""

    number: int
    function: Evaluate
    genome: Sequence[float]
    avoid: str = ""


class Stalled(Exception):
    """No result came for ``seconds``. ``missing``: which genomes (by index) have none."""

    def __init__(self, missing: Sequence[int], seconds: float) -> None:
        super().__init__(f"no result for {seconds:.0f} s")
        self.missing = sorted(missing)


class Backend(ABC):
    """Evaluates genomes somewhere. :meth:`map` is what the toolbox registers as ``map``.

    ``stall_after``: seconds without any result after which :meth:`map` gives up; None
    derives it from the slowest evaluation so far, to begin with ``slowest``.
    """

    def __init__(self, stall_after: float | None = None, slowest: float = 0.0) -> None:
        self._stall_after, self._slowest = stall_after, slowest
        self._numbers = itertools.count()

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many evaluations go on at once."""

    @abstractmethod
    def submit(self, call: Call) -> None:
        """Take ``call`` on; calls are begun in the order of submission."""

    @abstractmethod
    def completed(self, timeout: float) -> list[tuple[int, Evaluation]]:
        """The numbers and results of calls that were completed, after at most ``timeout`` seconds.

        A call that was lost with its worker is completed too, with a ``failure``.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave no process behind."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def map(self, function: Evaluate, genomes: Sequence[Sequence[float]]) -> Iterator[tuple[int, Evaluation]]:
        """Yield ``(index, function(genomes[index]))`` in the order in which they are ready.

        What fails is tried once more, elsewhere if there is an elsewhere. Raises :class:`Stalled`.
        """
        missing: dict[int, tuple[int, bool]] = {}

        def hand_out(index: int, avoid: str = "", again: bool = False) -> None:
            call = Call(next(self._numbers), function, genomes[index], avoid)
            missing[call.number] = index, again
            self.submit(call)

        for index in range(len(genomes)):
            hand_out(index)
        since = time.monotonic()
        while missing:
            for number, evaluation in self.completed(_POLL):
                if number not in missing:  # answered twice: a worker that was taken for dead was not
                    continue
                since = time.monotonic()
                self._slowest = max(self._slowest, evaluation.seconds)
                index, again = missing.pop(number)
                if evaluation.failure and not again:
                    hand_out(index, evaluation.worker, again=True)
                else:
                    yield index, evaluation
            waited = time.monotonic() - since
            if waited > self.stall_after:
                raise Stalled([index for index, _ in missing.values()], waited)

    @property
    def stall_after(self) -> float:
        """Seconds without a result after which something must be wrong."""
        return self._stall_after or max(60.0, 10 * self._slowest)
