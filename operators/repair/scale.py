"""Repair by scaling."""

from __future__ import annotations

from collections.abc import Sequence

from evoprune import Individual
from operators.bounds import clip_genes
from operators.repair.budget import check_reachable, kept, weighted_mean


def scale(
    individual: Individual, *, low: Sequence[float], up: Sequence[float], weights: Sequence[float], target: float
) -> tuple[Individual]:
    """Scale every gene's distance to its bound by one factor, so that the weighted mean is target.

    Above the target, distances to ``low`` shrink; below it, distances to ``up`` do. So no
    gene leaves its bounds and every reachable target is met. Raises ValueError if the
    bounds do not allow ``target``.
    """
    check_reachable(low, up, weights, target)
    if kept(individual, low, up, weights, target):
        return (individual,)
    clip_genes(individual, low, up)
    mean = weighted_mean(individual, weights)
    ends = low if mean > target else up
    end = weighted_mean(ends, weights)
    factor = (target - end) / (mean - end) if mean != end else 1.0
    individual[:] = [bound + factor * (gene - bound) for gene, bound in zip(individual, ends, strict=True)]
    return (clip_genes(individual, low, up),)
