"""What saving one unit of the budget costs in each gene, measured."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

from evoprune import Budget, Evaluate, Individual
from operators.algorithm.breeding import cost, losses
from operators.bounds import clip
from operators.spending import towards

_LEAST = 0.1
"""A marginal cost counts as at least this share of the median one: those near zero are noise."""


def log_marginals(
    centre: Individual, budget: Budget, probe: float, screening: float
) -> Generator[Evaluate, None, list[float]]:
    """The logarithm of what one unit saved costs in each gene, less their mean; fixed genes have 0.

    The mean counts each gene by its weight: moving along the result, each gene in the direction that saves,
    keeps the budget. ``probe``: how far genes are moved; those with levels in shares of their range, but at least
    by one level.
    """
    free, weights = budget.free, budget.weights
    probes = [_probe(centre, gene, budget, probe) for gene in free]
    changes = yield from loss_changes(centre, probes, screening)
    prices = [budget.price(centre, gene, moved[gene] - centre[gene]) for gene, moved in zip(free, probes, strict=True)]
    costs = [change / -price if price else 0.0 for price, change in zip(prices, changes, strict=True)]
    floor = _LEAST * sorted(map(abs, costs))[len(costs) // 2] if costs else 0.0
    logs = [math.log(max(each, floor, 1e-300)) for each in costs]
    share = sum(weights[gene] for gene in free) or 1.0
    mean = sum(weights[gene] * value for gene, value in zip(free, logs, strict=True)) / share
    marginals = [0.0] * len(weights)
    for gene, value in zip(free, logs, strict=True):
        marginals[gene] = value - mean
    return marginals


def loss_changes(
    here: Individual, probes: Sequence[Individual], screening: float
) -> Generator[Evaluate, None, list[float]]:
    """What each of ``probes`` loses more than ``here``, all measured on the share ``screening`` of the data."""
    again = here.child()
    yield Evaluate([again, *probes], screening, probe=True)
    before, *after = losses([cost(one) for one in (again, *probes)])
    return [loss - before for loss in after]


def _probe(centre: Individual, place: int, budget: Budget, probe: float) -> Individual:
    """``centre`` with one gene moved to where it saves or, where it has hardly any room there, the other way.

    A gene with levels moves on, then the other way, until what it spends changes.
    """
    gene, moved = budget.genes[place], centre.child()
    sign = 1.0 if budget.directions[place] > 0 else -1.0
    width = max(probe * gene.up, 1.0) if gene.levels else probe
    room, back = gene.up - moved[place], moved[place] - gene.low
    if sign < 0:
        room, back = back, room
    if room > width / 4 or room > back:
        moved[place] += sign * min(width, room)
    else:
        moved[place] = clip(moved[place] - sign * width, gene.low, gene.up)
    if gene.levels:
        first, here = gene.nearest(moved[place]), gene.nearest(centre[place])
        ends = (gene.up, gene.low) if first > here else (gene.low, gene.up)
        levels = [*towards(first, ends[0]), *towards(here, ends[1])]
        moved[place] = next((level for level in levels if budget.price(centre, place, level - here)), first)
    return moved
