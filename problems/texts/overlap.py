"""Passages that two texts have in common, at any offset."""

from __future__ import annotations

import numpy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from problems.texts.windows import Windows, share_a_window

PASSAGE = 32  # tokens
_MOST_IN_COMMON = 0.01  # of the report text: quotations and headings may be the same
_BASE = numpy.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2^64


def share_in_common(text: Windows, other: Windows) -> float:
    """Return the share, in [0, 1], of the tokens of ``text`` in passages that occur in ``other``.

    A passage is any :data:`PASSAGE` tokens in a row, found by rolling hashes and compared token by token.
    """
    ours, theirs = (one.text.numpy().reshape(-1) for one in (text, other))
    if min(len(ours), len(theirs)) < PASSAGE:
        return 0.0
    hashes, known = _hashes(ours), _hashes(theirs)
    order = known.argsort(kind="stable")
    places = numpy.searchsorted(known, hashes, sorter=order).clip(max=len(known) - 1)
    alike = numpy.flatnonzero(known[order[places]] == hashes)
    same = sliding_window_view(ours, PASSAGE)[alike] == sliding_window_view(theirs, PASSAGE)[order[places[alike]]]
    covered = numpy.zeros(len(ours), dtype=bool)
    for start in alike[same.all(1)]:
        covered[start : start + PASSAGE] = True
    return float(covered.mean())


def holds_much_of(report: Windows, other: Windows) -> bool:
    """Tell whether ``report`` holds too many passages of ``other``, or a whole window of it."""
    return share_in_common(report, other) > _MOST_IN_COMMON or share_a_window(report, other)


def _hashes(tokens: NDArray[numpy.int64]) -> NDArray[numpy.uint64]:
    """Hash each passage: the sum of its tokens times powers of the base, modulo 2^64."""
    powers = numpy.cumprod(numpy.full(len(tokens), _BASE), dtype=numpy.uint64)
    sums = numpy.concatenate([numpy.zeros(1, numpy.uint64), numpy.cumsum((tokens.astype(numpy.uint64) + 1) * powers)])
    inverse = numpy.uint64(pow(int(_BASE), -1, 2**64))
    found: NDArray[numpy.uint64] = sums[PASSAGE:] - sums[:-PASSAGE]
    return found * numpy.cumprod(numpy.full(len(found), inverse), dtype=numpy.uint64)
