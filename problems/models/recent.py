"""What was made last, within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Made = TypeVar("Made")

KEPT = 2**29
"""Bytes that are kept of what takes as long to make as candidates take to be scored."""


class Recent(Generic[Made]):
    """What was made last, by key; as much of it as ``limit`` bytes hold, and the newest one always.

    ``size``: the bytes of one.
    """

    def __init__(self, limit: int, size: Callable[[Made], int]) -> None:
        self._limit, self._size, self._bytes = limit, size, 0
        self._known: OrderedDict[Hashable, Made] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What is kept under ``key``, or was made now."""
        if key in self._known:
            self._known.move_to_end(key)
        else:
            self._known[key] = make()
            self._bytes += self._size(self._known[key])
            while self._bytes > self._limit and len(self._known) > 1:
                self._bytes -= self._size(self._known.popitem(last=False)[1])
        return self._known[key]
