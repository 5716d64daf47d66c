"""Genes and their bounds."""

from __future__ import annotations

from collections.abc import Sequence

from evoprune import Gene, Individual


def clip(value: float, low: float, up: float) -> float:
    """The number in [low, up] nearest to ``value``."""
    return min(max(value, low), up)


def clip_genes(individual: Individual, low: Sequence[float], up: Sequence[float]) -> Individual:
    """Clip every gene to its bounds, in place; a gene with levels may stay between two of them."""
    individual[:] = map(clip, individual, low, up)
    return individual


def another_level(gene: Gene, old: float, new: float) -> float:
    """The level of ``gene`` nearest to ``new`` that is not the one of ``old``: at least one level towards ``new``.

    At the last level on that side it is the neighbour on the other side. A fixed gene has no other level.
    """
    before, after = gene.nearest(old), gene.nearest(new)
    if after != before or not gene.free:
        return after
    step = 1.0 if new > old else -1.0
    return before + step if gene.low <= before + step <= gene.up else before - step
