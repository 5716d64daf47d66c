"""One evaluation after the other, in this process."""

from __future__ import annotations

from collections import deque

from evoprune.backends.base import Backend, Call
from evoprune.interfaces.problem import Evaluation


class Serial(Backend):
    """The simplest backend: no other process."""

    workers = 1

    def __init__(self) -> None:
        super().__init__()
        self._calls: deque[Call] = deque()

    def submit(self, call: Call) -> None:
        """Queue ``call``."""
        self._calls.append(call)

    def completed(self, timeout: float) -> list[tuple[int, Evaluation]]:
        """Evaluate the first call in the queue, however long it takes."""
        call = self._calls.popleft()
        return [(call.number, call.function(call.genome))]

    def close(self) -> None:
        """There is nothing to close."""
