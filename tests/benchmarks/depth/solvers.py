"""What to drop, if costs are added up: genomes of an additive budget whose genes are kept (0) or dropped (1).

Each takes a cost for each gene. The limit must be in reach (see :meth:`evoprune.Budget.check_reachable`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy
from scipy.optimize import Bounds, LinearConstraint, milp

from evoprune import ROUNDING, Additive

Solver = Callable[[Sequence[float], Additive], list[float]]


def by_cost(costs: Sequence[float], budget: Additive) -> list[float]:
    """Drop what costs the least, whatever it saves, until the limit is kept: as published, where genes save alike."""
    return _in_order(sorted(budget.free, key=lambda gene: costs[gene]), budget)


def by_rate(costs: Sequence[float], budget: Additive) -> list[float]:
    """Drop what costs the least for what it saves until the limit is kept (Dantzig, Operations Research 5, 1957)."""
    return _in_order(sorted(budget.free, key=lambda gene: costs[gene] / budget.weights[gene]), budget)


def dynamic(costs: Sequence[float], budget: Additive) -> list[float]:
    """The least sum of costs, by dynamic programming over what is still to be saved.

    As in SPDY (Frantar and Alistarh, ICML 2022), but exact: what a gene saves must be a whole number, and is divided by
    the greatest common divisor of all.
    """
    sizes, needed = _whole(budget)
    least = numpy.full(needed + 1, math.inf)  # the least cost of saving so much or more with the genes so far
    least[0] = 0.0
    choices = []
    for gene, size in zip(budget.free, sizes, strict=True):
        dropped = least[numpy.maximum(numpy.arange(needed + 1) - size, 0)] + costs[gene]
        choices.append(dropped < least)
        least = numpy.minimum(least, dropped)
    chosen, rest = set(), needed
    for gene, size, choice in reversed([*zip(budget.free, sizes, choices, strict=True)]):
        if choice[rest]:
            chosen.add(gene)
            rest = max(0, rest - size)
    return _genome(chosen, budget)


def mip(costs: Sequence[float], budget: Additive) -> list[float]:
    """The least sum of costs, as a mixed integer programme, by HiGHS without a gap."""
    sizes, needed = _whole(budget)
    objective = [costs[gene] for gene in budget.free]
    saved = LinearConstraint(numpy.array([sizes]), lb=needed)
    found = milp(
        objective, integrality=[1] * len(sizes), bounds=Bounds(0, 1), constraints=saved, options={"mip_rel_gap": 0}
    )
    return _genome({gene for gene, value in zip(budget.free, found.x, strict=True) if value > 0.5}, budget)


def _whole(budget: Additive) -> tuple[list[int], int]:
    """What each free gene saves, and what is needed in all, in the greatest common divisor of the former."""
    sizes = [round(budget.weights[gene]) for gene in budget.free]
    unit = math.gcd(*sizes)
    needed = (budget.excess(budget.extreme(most=True)) - ROUNDING) * budget.scale / unit
    return [size // unit for size in sizes], max(0, math.ceil(needed))


def _in_order(genes: Sequence[int], budget: Additive) -> list[float]:
    genome = budget.extreme(most=True)
    for gene in genes:
        if budget.within(genome):
            break
        genome[gene] = 1.0
    return genome


def _genome(dropped: Collection[int], budget: Additive) -> list[float]:
    return [float(gene in dropped) for gene in range(len(budget.genes))]
