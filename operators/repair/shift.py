"""Repair by a common shift."""

from __future__ import annotations

from collections.abc import Sequence

from evoprune import Individual, solve
from operators.bounds import clip_genes
from operators.repair.budget import check_reachable, kept, weighted_mean


def shift(
    individual: Individual, *, low: Sequence[float], up: Sequence[float], weights: Sequence[float], target: float
) -> tuple[Individual]:
    """Add the same number to every gene, clipped to its bounds, so that the weighted mean is target.

    It keeps the differences between genes away from the bounds. Raises ValueError if the
    bounds do not allow ``target``.
    """
    check_reachable(low, up, weights, target)
    if kept(individual, low, up, weights, target):
        return (individual,)
    genes = Individual(individual)

    def shifted(step: float) -> Individual:
        return clip_genes(Individual(gene + step for gene in genes), low, up)

    widest = max(map(abs, [*low, *up])) + max(map(abs, genes))
    step = solve(lambda step: weighted_mean(shifted(step), weights), target, -widest, widest)
    individual[:] = shifted(step)
    return (individual,)
