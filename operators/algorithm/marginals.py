"""What one weight more costs in each gene, measured."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

from evoprune import Individual, Score
from operators.algorithm.breeding import cost, losses
from operators.bounds import free_genes

_LEAST = 0.1
"""A marginal cost counts as at least this share of the median one: those near zero are noise."""


def log_marginals(
    centre: Individual,
    low: Sequence[float],
    up: Sequence[float],
    weights: Sequence[float],
    probe: float,
    screening: float,
) -> Generator[Score, None, list[float]]:
    """The logarithm of what a weight more costs in each gene, less their mean; fixed genes have 0.

    The mean counts each gene by its weight: moving along the result keeps the budget.
    """
    free = free_genes(low, up, weights)
    again = centre.child()
    probes = []
    for gene in free:
        raised = centre.child()
        room = up[gene] - raised[gene]
        if room > probe / 4 or room > raised[gene] - low[gene]:
            raised[gene] += min(probe, room)
        else:
            raised[gene] = max(raised[gene] - probe, low[gene])
        probes.append(raised)
    yield Score([again, *probes], screening, probe=True)
    before, *after = losses([cost(child) for child in (again, *probes)])
    costs = [
        (loss - before) / ((raised[gene] - centre[gene]) * weights[gene])
        for gene, raised, loss in zip(free, probes, after, strict=True)
    ]
    floor = _LEAST * sorted(map(abs, costs))[len(costs) // 2] if costs else 0.0
    logs = [math.log(max(each, floor, 1e-300)) for each in costs]
    share = sum(weights[gene] for gene in free) or 1.0
    mean = sum(weights[gene] * value for gene, value in zip(free, logs, strict=True)) / share
    marginals = [0.0] * len(weights)
    for gene, value in zip(free, logs, strict=True):
        marginals[gene] = value - mean
    return marginals
