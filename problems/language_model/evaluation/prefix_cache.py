"""Cache of hidden states of scored candidates: a related candidate starts at the first block that differs."""

import math
from collections.abc import Hashable, Sequence
from hashlib import blake2b

import torch
from cachetools import LRUCache

_CANDIDATES_AT_LEAST = 6  # whose states must fit, else states are cached before fewer blocks

Key = tuple[bytes, int, int]
"""The hash of a prefix; the first window of the batch, and its number of windows."""


def prefixes(fingerprints: Sequence[Hashable]) -> list[bytes]:
    """Return a hash of the blocks before each block, and of all blocks, by the ``repr`` of ``fingerprints``."""
    hashes, running = [], blake2b(digest_size=16)
    for fingerprint in fingerprints:
        hashes.append(running.digest())
        running.update(f"{fingerprint!r};".encode())  # else 1, 1 would be taken for 11
    return [*hashes, running.digest()]


class PrefixCache:
    """A cache of at most ``limit`` bytes of states; the least recently used ones are dropped first.

    If memory is small, states are cached only before every second, third, ... block, or not at all.
    """

    def __init__(self, blocks: int, state_bytes: int, limit: int) -> None:
        """``state_bytes``: bytes of one candidate's states before one block, over all windows."""
        fitting = limit // max(1, state_bytes * _CANDIDATES_AT_LEAST)
        stride = math.ceil((blocks - 1) / fitting) if fitting and blocks > 1 else blocks
        self._checkpoints = range(stride, blocks, stride)
        self._states: LRUCache[Key, torch.Tensor] = LRUCache(limit, lambda state: state.nbytes)
        self._prefixes: list[bytes] = []

    @property
    def bytes(self) -> int:
        return int(self._states.currsize)

    def set_candidate(self, fingerprints: Sequence[Hashable]) -> None:
        """Look up and store states of the candidate whose blocks have ``fingerprints`` from now on."""
        self._prefixes = prefixes(fingerprints)

    def longest(self, first: int, windows: int) -> tuple[int, torch.Tensor | None]:
        """Return the last block before which states are cached, and the states; (0, None) if there is none."""
        for block in reversed(self._checkpoints):
            state = self._states.get((self._prefixes[block], first, windows))
            if state is not None:
                return block, state
        return 0, None

    def checkpoints(self, start: int) -> list[int]:
        """Return the blocks after ``start`` before which states are cached."""
        return [block for block in self._checkpoints if block > start]

    def store(self, first: int, states: dict[int, torch.Tensor]) -> None:
        """Cache ``states``, by block, of the present candidate."""
        for block, state in states.items():
            if state.nbytes <= self._states.maxsize:
                self._states[self._prefixes[block], first, state.shape[0]] = state

    def clear(self) -> None:
        self._states.clear()
