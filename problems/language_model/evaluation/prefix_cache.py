"""Hidden states of scored candidates: a related candidate starts at the first block that differs."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch

_CANDIDATES_AT_LEAST = 6  # whose states must fit the memory, else those of fewer blocks are kept
_STALE_AFTER = 100  # candidates for which a state was not used: it is dropped first
_ROOM = 0.9  # share of the memory that stays in use when states are dropped

Key = tuple[bytes, int, int]
"""The hash of a prefix; the first window of the batch, and its number of windows."""


def prefixes(fingerprints: Sequence[Hashable]) -> list[bytes]:
    """Hash the blocks before each block, and all blocks, by the ``repr`` of their ``fingerprints``."""
    hashes, running = [], blake2b(digest_size=16)
    for fingerprint in fingerprints:
        hashes.append(running.digest())
        running.update(f"{fingerprint!r};".encode())  # else 1, 1 would be taken for 11
    return [*hashes, running.digest()]


@dataclass
class _Entry:
    state: torch.Tensor
    value: float  # lowest fitness among the candidates with this prefix
    used: int


class PrefixCache:
    """Holds at most ``limit`` bytes of states.

    Drops first the states that were not used for long, then the states of the worst candidates. If memory is small,
    states are kept before every second, third, ... block only, or not at all.
    """

    def __init__(self, blocks: int, state_bytes: int, limit: int) -> None:
        """``state_bytes``: the bytes of one candidate's states before one block, over all windows."""
        fitting = limit // max(1, state_bytes * _CANDIDATES_AT_LEAST)
        stride = math.ceil((blocks - 1) / fitting) if fitting and blocks > 1 else blocks
        self._kept = range(stride, blocks, stride)
        self._limit = limit
        self._entries: dict[Key, _Entry] = {}
        self.bytes = 0
        self._clock = 0
        self._prefixes: list[bytes] = []

    def begin(self, fingerprints: Sequence[Hashable]) -> None:
        """Score another candidate, whose blocks have ``fingerprints``, from now on."""
        self._prefixes = prefixes(fingerprints)

    def longest(self, first: int, windows: int) -> tuple[int, torch.Tensor | None]:
        """Return the last block before which states are stored, and the states; (0, None) if there is none."""
        for block in reversed(self._kept):
            key = (self._prefixes[block], first, windows)
            if key in self._entries:
                self._entries[key].used = self._clock
                return block, self._entries[key].state
        return 0, None

    def wanted(self, start: int) -> list[int]:
        return [block for block in self._kept if block > start]

    def store(self, first: int, states: dict[int, torch.Tensor]) -> None:
        """Keep ``states``, by block, of the candidate being scored."""
        for block, state in states.items():
            key = (self._prefixes[block], first, state.shape[0])
            if key not in self._entries:
                self._make_room(state.nbytes)
                self._entries[key] = _Entry(state, math.inf, self._clock)
                self.bytes += state.nbytes

    def judge(self, value: float) -> None:
        prefixes = set(self._prefixes)
        for key, entry in self._entries.items():
            if key[0] in prefixes:
                entry.value = min(entry.value, value)
        self._clock += 1

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0

    def _make_room(self, wanted: int) -> None:
        """Drop the least useful states, a tenth of the memory at a time: sorting for each one would be too slow."""
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
