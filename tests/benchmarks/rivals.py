"""Searches of others on genes with levels: EvoPress's, and solvers of the knapsack of estimated costs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy
from scipy.optimize import Bounds, LinearConstraint, milp

from evoprune import Algorithm, Evaluate, Generation, Individual
from evoprune.operators.algorithm.breeding import fittest
from evoprune.operators.knapsack import Floats
from tests.benchmarks.search import Search, Way, one

Costs = Callable[[Search], Floats]
"""The estimated cost of each level: ``(choices.count,)``; pays for the tokens that it reads."""

Solver = Callable[[Search, Floats], list[float]]

_MOST_SWAPS, _HALVINGS = 3, 60


def summed(costs: Costs, solver: Solver) -> Way:
    """The one genome that ``solver`` makes of ``costs``."""

    def way(search: Search) -> Algorithm:
        yield from one(solver(search, costs(search)))

    return way


def dynamic(search: Search, costs: Floats) -> list[float]:
    """Dynamic programming (as SPDY: Frantar and Alistarh, ICML 2022), as the project's."""
    return search.choices.best(costs)


def lagrangian(search: Search, costs: Floats) -> list[float]:
    """For each gene the least of cost + multiplier x price, at the smallest multiplier that keeps the limit.

    The rest of the budget goes to the steps that save the most cost for their price, as long as any fits.
    """
    prices, places = search.prices, search.choices.own
    low, high = 0.0, float(costs.max()) / float(numpy.diff(numpy.unique(prices)).min())

    def genome(multiplier: float) -> list[float]:
        sums = costs + multiplier * prices
        return [float(sums[own].argmin()) for own in places]

    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if search.budget.within(genome(middle)) else (middle, high)
    return _filled(search, costs, genome(high))


def _filled(search: Search, costs: Floats, genome: list[float]) -> list[float]:
    while True:
        steps = []
        for gene, own in enumerate(search.choices.own):
            now = own[int(genome[gene])]
            for level, then in enumerate(own):
                raised = [*genome[:gene], float(level), *genome[gene + 1 :]]
                price = search.prices[then] - search.prices[now]
                if price > 0 and costs[then] < costs[now] and search.budget.within(raised):
                    steps.append(((costs[now] - costs[then]) / price, raised))
        if not steps:
            return genome
        genome = max(steps, key=lambda step: step[0])[1]


def mip(search: Search, costs: Floats) -> list[float]:
    """A mixed integer programme, one level of each gene, by HiGHS without a gap."""
    prices, places, room = search.prices, search.choices.own, search.budget.limit - search.budget.least
    one_each = numpy.zeros((len(places), len(costs)))
    for row, own in zip(one_each, places, strict=True):
        row[own] = 1
    limits = [LinearConstraint(one_each, 1, 1), LinearConstraint(prices[None] / room, ub=1)]
    integers, options = numpy.ones(len(costs)), {"mip_rel_gap": 0}
    found = milp(costs / costs.max(), integrality=integers, bounds=Bounds(0, 1), constraints=limits, options=options)
    return [float(found.x[own].argmax()) for own in places]


def evopress(
    first: Sequence[Individual],
    children: Callable[[Individual], Sequence[Individual]],
    screening: Sequence[float],
    survivors: Sequence[int],
) -> Algorithm:
    """EvoPress (Sieberling et al., ICML 2025): the best of ``first``, then of its ``children``, again and again.

    Children are screened on the shares ``screening`` of the text, of which ``survivors`` are left, then on all of it.
    The published search draws windows anew for each step; here they are the first ones of the text, at least one.
    """
    yield Evaluate(first, screening[0])
    (parent,) = fittest(first, 1)
    yield Evaluate([parent])
    while True:
        yield Generation([parent])
        left = list(children(parent))
        for share, count in zip(screening, survivors, strict=True):
            yield Evaluate(left, share)
            left = fittest(left, count)
        yield Evaluate(left)
        (parent,) = fittest([parent, *left], 1)


def swapped(search: Search, parent: Individual, group: Callable[[], Sequence[int]]) -> Individual:
    """A child after min(U(1, 3), U(1, 3)) swaps: in a ``group``, one gene saves a level and another one spends one."""
    child, genes = parent.child(), search.budget.genes
    for _ in range(min(random.randint(1, _MOST_SWAPS), random.randint(1, _MOST_SWAPS))):
        places = group()
        saving = [place for place in places if child[place] < genes[place].up]
        spending = [place for place in places if child[place] > genes[place].low]
        if saving and spending:
            saver, spender = random.choice(saving), random.choice(spending)
            child[saver], child[spender] = child[saver] + 1, child[spender] - 1
    return child
