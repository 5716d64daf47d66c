"""Hidden states of scored candidates, kept so that a relative starts at the first block that differs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch

_CANDIDATES_AT_LEAST = 6
"""Checkpoints are thinned out until this many candidates' states fit the memory."""

_STALE_AFTER = 100
"""Candidates scored since a state was last of use, after which it goes first."""

_ROOM = 0.9
"""The share of the memory that stays in use when room is made."""

Key = tuple[bytes, int, int]
"""A name of what the blocks before are masked to; the first window of the batch, and its length."""


@dataclass
class _Entry:
    state: torch.Tensor
    value: float
    """The best fitness (lowest) among the candidates that have this prefix."""
    used: int


def prefix_names(cuts: Sequence[Sequence[int]]) -> list[bytes]:
    """For each block, a name of all before it; ``cuts`` says block by block what its matrices lose."""
    names, running = [], blake2b(digest_size=16)
    for block in cuts:
        names.append(running.digest())
        running.update(repr(tuple(block)).encode())
    return names


class States:
    """Holds at most ``limit`` bytes of states.

    Children differ in part from good candidates, so those of the worst fitness are dropped
    first, after those that have long been of no use (references, past elites). Where
    memory is tight, states are kept before every second, third, ... block only; where not
    even that fits, none are.
    """

    def __init__(self, blocks: int, state_bytes: int, limit: int) -> None:
        """``state_bytes``: what one candidate's states before one block take, over all windows."""
        fitting = limit // max(1, state_bytes * _CANDIDATES_AT_LEAST)
        stride = math.ceil((blocks - 1) / fitting) if fitting and blocks > 1 else blocks
        self._kept = range(stride, blocks, stride)
        self._limit = limit
        self._entries: dict[Key, _Entry] = {}
        self.bytes = 0
        self._clock = 0

    def longest(self, names: Sequence[bytes], first: int, windows: int) -> tuple[int, torch.Tensor | None]:
        """The last block before which states are known, and the states; (0, None) if there is none."""
        for block in reversed(self._kept):
            key = (names[block], first, windows)
            if key in self._entries:
                self._entries[key].used = self._clock
                return block, self._entries[key].state
        return 0, None

    def wanted(self, start: int) -> list[int]:
        """The blocks before which a run from ``start`` on should note its states."""
        return [block for block in self._kept if block > start]

    def store(self, names: Sequence[bytes], first: int, states: dict[int, torch.Tensor]) -> None:
        """Keep ``states``, by block, of the candidate being scored, whose prefixes are ``names``."""
        for block, state in states.items():
            key = (names[block], first, state.shape[0])
            if key not in self._entries:
                self._make_room(state.nbytes)
                self._entries[key] = _Entry(state, math.inf, self._clock)
                self.bytes += state.nbytes

    def judge(self, names: Sequence[bytes], value: float) -> None:
        """The candidate whose prefixes are ``names`` scored ``value``, lower being better."""
        prefixes = set(names)
        for key, entry in self._entries.items():
            if key[0] in prefixes:
                entry.value = min(entry.value, value)
        self._clock += 1

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self.bytes = 0

    def _make_room(self, wanted: int) -> None:
        """Drop the most expendable, a tenth of the memory at a time: to sort for each one would cost too much."""
        if self.bytes + wanted <= self._limit:
            return
        for worst in sorted(self._entries, key=self._expendable, reverse=True):
            if self.bytes + wanted <= _ROOM * self._limit:
                break
            self.bytes -= self._entries.pop(worst).state.nbytes

    def _expendable(self, key: Key) -> tuple[bool, bool, float]:
        entry = self._entries[key]
        stale = self._clock - entry.used > _STALE_AFTER
        return (entry.used != self._clock, stale, entry.value)  # never those of the candidate being scored
