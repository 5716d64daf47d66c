"""Hidden states of scored candidates, kept so that a relative starts where it differs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

import torch

_CANDIDATES_AT_LEAST = 8
"""Checkpoints are thinned out until this many candidates fit the memory."""

Key = tuple[bytes, int]
"""What the blocks before are masked to, and the number of the batch of windows."""


def digests(counts: Sequence[Sequence[int]]) -> list[bytes]:
    """For each block, a name of everything before it: ``counts`` holds each block's removed weights."""
    names, running = [], blake2b(digest_size=16)
    for block in counts:
        names.append(running.digest())
        running.update(repr(tuple(block)).encode())
    return names


class PrefixStates:
    """The least recently used states are dropped beyond ``limit`` bytes.

    The states of parents and elites are those that their children start from, and so those
    that stay. Where memory is tight, states are kept before every second, third, ... block
    only; where not even that fits, none are.
    """

    def __init__(self, blocks: int, state_bytes: int, limit: int) -> None:
        """``state_bytes``: what one candidate's states before one block take, over all windows."""
        fitting = limit // max(1, state_bytes * _CANDIDATES_AT_LEAST)
        self._stride = -(-(blocks - 1) // fitting) if fitting else blocks
        self._limit = limit
        self._states: OrderedDict[Key, torch.Tensor] = OrderedDict()
        self._bytes = 0
        self._kept = range(self._stride, blocks, self._stride)

    def longest(self, names: Sequence[bytes], batch: int) -> tuple[int, torch.Tensor | None]:
        """The last block before which states are known, and the states; (0, None) if there is none."""
        for block in reversed(self._kept):
            state = self._states.get((names[block], batch))
            if state is not None:
                self._states.move_to_end((names[block], batch))
                return block, state
        return 0, None

    def wanted(self, start: int) -> list[int]:
        """The blocks before which a run from ``start`` on should note its states."""
        return [block for block in self._kept if block > start]

    def store(self, names: Sequence[bytes], batch: int, states: dict[int, torch.Tensor]) -> None:
        """Keep ``states``, by block, of the candidate whose prefixes are ``names``."""
        for block, state in states.items():
            key = (names[block], batch)
            if key not in self._states:
                self._bytes += state.nbytes
            self._states[key] = state
            self._states.move_to_end(key)
        while self._bytes > self._limit:
            _, dropped = self._states.popitem(last=False)
            self._bytes -= dropped.nbytes
