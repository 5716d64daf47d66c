"""The budget that every repair lands on: a weighted mean of the genes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

_ROUNDING = 1e-13
"""Far less than a weight of the largest models, and more than sums of doubles are off."""


def weighted_mean(genes: Sequence[float], weights: Sequence[float]) -> float:
    """The mean of ``genes``, each counted by its weight: the sparsity of the whole."""
    return math.fsum(map(mul, genes, weights)) / math.fsum(weights)


def check_reachable(low: Sequence[float], up: Sequence[float], weights: Sequence[float], target: float | None) -> None:
    """Raise ValueError unless some genome within the bounds has the mean ``target``; None: there is no budget."""
    if target is None:
        raise ValueError("the problem, as it is set up, keeps no budget; leave operators.repair out")
    least, most = weighted_mean(low, weights), weighted_mean(up, weights)
    if not least - 1e-12 <= target <= most + 1e-12:
        raise ValueError(f"target {target:g} is outside what the bounds allow, {least:g} to {most:g}")


def kept(
    genes: Sequence[float], low: Sequence[float], up: Sequence[float], weights: Sequence[float], target: float
) -> bool:
    """Whether there is nothing to repair: all within the bounds, and on the budget but for rounding.

    Mutations that keep the budget are common, and a repair is dear where many are bred for each that is scored.
    """
    inside = all(least <= gene <= most for least, gene, most in zip(low, genes, up, strict=True))
    return inside and abs(weighted_mean(genes, weights) - target) <= _ROUNDING
