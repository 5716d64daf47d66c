"""Genes and their bounds."""

from __future__ import annotations

from collections.abc import Sequence

from evoprune import Individual


def clip(value: float, low: float, up: float) -> float:
    """The number in [low, up] nearest to ``value``."""
    return min(max(value, low), up)


def clip_genes(individual: Individual, low: Sequence[float], up: Sequence[float]) -> Individual:
    """Clip every gene to its bounds, in place."""
    individual[:] = map(clip, individual, low, up)
    return individual


def free_genes(low: Sequence[float], up: Sequence[float], weights: Sequence[float]) -> list[int]:
    """The genes that can move and whose moves count: with room between their bounds, and a weight."""
    return [gene for gene, weight in enumerate(weights) if weight > 0 and low[gene] < up[gene]]
