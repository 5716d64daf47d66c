"""Repair by Euclidean projection."""

from __future__ import annotations

from collections.abc import Sequence

from evoprune import Individual, solve
from operators.bounds import clip_genes
from operators.repair.budget import check_reachable, kept, weighted_mean


def project(
    individual: Individual, *, low: Sequence[float], up: Sequence[float], weights: Sequence[float], target: float
) -> tuple[Individual]:
    """Move to the nearest genome (Euclidean) within the bounds whose weighted mean is target.

    The solution is ``clip(gene + multiplier * weight)`` with one multiplier for all genes
    (Held, Wolfe and Crowder, "Validation of subgradient optimization", Mathematical
    Programming 6, 1974). Raises ValueError if the bounds do not allow ``target``.
    """
    check_reachable(low, up, weights, target)
    if kept(individual, low, up, weights, target):
        return (individual,)
    heaviest = max(weights)
    directions = [weight / heaviest for weight in weights]
    genes = Individual(individual)

    def moved(multiplier: float) -> Individual:
        return clip_genes(Individual(g + multiplier * d for g, d in zip(genes, directions, strict=True)), low, up)

    widest = (max(map(abs, [*low, *up])) + max(map(abs, genes))) / min(d for d in directions if d > 0)
    multiplier = solve(lambda m: weighted_mean(moved(m), weights), target, -widest, widest)
    individual[:] = moved(multiplier)
    return (individual,)
