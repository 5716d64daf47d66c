"""The time that the command ``prune`` has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Value = TypeVar("Value")


@dataclass
class Clock:
    """Looks at the time between doublings of a phase; nothing is forecast but the next one, from the one before.

    ``seconds``: from its making to the deadline.
    """

    seconds: float
    _begun: float = field(default_factory=lambda: time.monotonic())

    @property
    def left(self) -> float:
        """Seconds to the deadline; below 0 after it."""
        return self.seconds - (time.monotonic() - self._begun)

    def doubled(self, share: float, values: Sequence[Value], work: Callable[[Value], object]) -> Value:
        """Do ``work`` on the first of ``values``, and on each next one while it fits into ``share`` of the time.

        Each value is to take about twice as long as the one before. Return the last one that was worked on.
        """
        end = time.monotonic() + share * self.seconds
        for value in values[:-1]:
            begun = time.monotonic()
            work(value)
            now = time.monotonic()
            if now + 2 * (now - begun) > end:
                return value
        work(values[-1])
        return values[-1]
