"""Chooses windows of a text."""

from __future__ import annotations

import warnings

import numpy
from numpy.typing import NDArray

from problems.texts.settings import Sampling

Tokens = NDArray[numpy.int64]

_BUCKETS = 256
"""Token ids are hashed into this many buckets: histograms of a whole vocabulary would be nearly empty."""

_ROUNDS = 30
"""Iterations of k-means; it has converged by then."""


def order(tokens: Tokens, wanted: int, sampling: Sampling, seed: int) -> list[int]:
    """All windows of ``tokens`` ``(available, window)`` by number, the ``wanted`` ones first.

    ``first``: in the text's order. ``random``: shuffled by ``seed``. ``clusters``: from each of
    ``wanted`` clusters the window nearest its centre, and then the others, shuffled.
    """
    if sampling == "first":
        return list(range(len(tokens)))
    shuffled: list[int] = numpy.random.default_rng(seed).permutation(len(tokens)).tolist()
    if sampling == "random":
        return shuffled
    chosen = _central(_features(tokens), shuffled[:wanted])
    taken = set(chosen)
    return chosen + [window for window in shuffled if window not in taken]


def _features(tokens: Tokens) -> NDArray[numpy.float64]:
    """The square roots of the frequencies of hashed tokens in each window ``(available, buckets)``.

    Of unit length, so distances are Hellinger distances, in which common words do not dominate.
    """
    # Knuth's multiplicative hash: neighbours in a vocabulary are often similar, and should not share a bucket.
    buckets = (tokens.astype(numpy.uint64) * 2654435761 % 2**32) // (2**32 // _BUCKETS)
    counts = numpy.stack([numpy.bincount(row, minlength=_BUCKETS) for row in buckets.astype(numpy.int64)])
    frequencies: NDArray[numpy.float64] = numpy.sqrt(counts / tokens.shape[1])
    return frequencies


def _central(features: NDArray[numpy.float64], starts: list[int]) -> list[int]:
    """The window nearest the centre of each k-means cluster, each once; k-means begins at the windows ``starts``.

    As in EvoP (Wu et al., "EvoP: Robust LLM Inference via Evolutionary Pruning", 2025), which
    clusters its calibration data so that a small sample is as diverse as the whole.
    """
    from scipy.cluster.vq import kmeans2  # few runs need it, and it takes half a second to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster, as when windows are equal, keeps its centre
        centres, _ = kmeans2(features, features[starts], iter=_ROUNDS, minit="matrix")
    left = numpy.ones(len(features), dtype=bool)
    chosen = []
    for centre in centres:
        distances = numpy.where(left, ((features - centre) ** 2).sum(1), numpy.inf)
        chosen.append(int(distances.argmin()))
        left[chosen[-1]] = False
    return chosen
