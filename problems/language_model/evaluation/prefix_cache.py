"""Hidden states of scored candidates: a related candidate starts at the first block that differs."""

import math
from collections.abc import Hashable, Sequence
from hashlib import blake2b

import torch
from cachetools import LRUCache

_CANDIDATES_AT_LEAST = 6  # whose states must fit the memory, else states are kept before fewer blocks

Key = tuple[bytes, int, int]
"""The hash of a prefix; the first window of the batch, and its number of windows."""


def prefixes(fingerprints: Sequence[Hashable]) -> list[bytes]:
    """Hash the blocks before each block, and all blocks, by the ``repr`` of their ``fingerprints``."""
    hashes, running = [], blake2b(digest_size=16)
    for fingerprint in fingerprints:
        hashes.append(running.digest())
        running.update(f"{fingerprint!r};".encode())  # else 1, 1 would be taken for 11
    return [*hashes, running.digest()]


class PrefixCache:
    """Holds at most ``limit`` bytes of states, and drops the least recently used ones first.

    If memory is small, states are kept before every second, third, ... block only, or not at all.
    """

    def __init__(self, blocks: int, state_bytes: int, limit: int) -> None:
        """``state_bytes``: the bytes of one candidate's states before one block, over all windows."""
        fitting = limit // max(1, state_bytes * _CANDIDATES_AT_LEAST)
        stride = math.ceil((blocks - 1) / fitting) if fitting and blocks > 1 else blocks
        self._kept = range(stride, blocks, stride)
        self._states: LRUCache[Key, torch.Tensor] = LRUCache(limit, lambda state: state.nbytes)
        self._prefixes: list[bytes] = []

    @property
    def bytes(self) -> int:
        return int(self._states.currsize)

    def set_candidate(self, fingerprints: Sequence[Hashable]) -> None:
        """Score another candidate, whose blocks have ``fingerprints``, from now on."""
        self._prefixes = prefixes(fingerprints)

    def longest(self, first: int, windows: int) -> tuple[int, torch.Tensor | None]:
        """Return the last block before which states are stored, and the states; (0, None) if there is none."""
        for block in reversed(self._kept):
            state = self._states.get((self._prefixes[block], first, windows))
            if state is not None:
                return block, state
        return 0, None

    def checkpoints(self, start: int) -> list[int]:
        return [block for block in self._kept if block > start]

    def store(self, first: int, states: dict[int, torch.Tensor]) -> None:
        """Keep ``states``, by block, of the candidate being scored."""
        for block, state in states.items():
            if state.nbytes <= self._states.maxsize:
                self._states[self._prefixes[block], first, state.shape[0]] = state

    def clear(self) -> None:
        self._states.clear()
