"""The levels whose costs add up to the least within the budget; each takes the costs ``(choices.count,)``."""

from __future__ import annotations

from collections.abc import Callable

import numpy
from scipy.optimize import Bounds, LinearConstraint, milp

from operators.knapsack import Floats
from tests.benchmarks.bits.task import Task

Solver = Callable[[Task, Floats], list[float]]

_HALVINGS = 60


def dynamic(task: Task, costs: Floats) -> list[float]:
    """Dynamic programming, as the product's."""
    return task.choices.best(costs)


def lagrangian(task: Task, costs: Floats) -> list[float]:
    """For each gene the least of cost + multiplier x bytes, at the smallest multiplier that keeps the limit.

    The room that is left goes to the steps that save the most cost a byte, as long as any fits.
    """
    prices, places = task.prices(), task.choices.own
    low, high = 0.0, float(costs.max()) / float(numpy.diff(numpy.unique(prices)).min())

    def genome(multiplier: float) -> list[float]:
        sums = costs + multiplier * prices
        return [float(sums[own].argmin()) for own in places]

    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if task.budget.within(genome(middle)) else (middle, high)
    return _filled(task, costs, prices, genome(high))


def mip(task: Task, costs: Floats) -> list[float]:
    """A mixed integer programme, one level of each gene, by HiGHS."""
    prices, places = task.prices(), task.choices.own
    one = numpy.zeros((len(places), len(costs)))
    for row, own in zip(one, places, strict=True):
        row[own] = 1
    least = [own[-1] for own in places]
    scale = task.transform.resident.parameters / 8
    room = (task.budget.limit - task.budget.least) * scale + prices[least].sum()
    limits = [LinearConstraint(one, 1, 1), LinearConstraint(prices[None], ub=room)]
    found = milp(costs / costs.max(), integrality=numpy.ones(len(costs)), bounds=Bounds(0, 1), constraints=limits)
    return [float(found.x[own].argmax()) for own in places]


def _filled(task: Task, costs: Floats, prices: Floats, genome: list[float]) -> list[float]:
    while True:
        steps = []
        for gene, own in enumerate(task.choices.own):
            for level in range(int(genome[gene])):
                now, then = own[int(genome[gene])], own[level]
                raised = [*genome[:gene], float(level), *genome[gene + 1 :]]
                if costs[then] < costs[now] and task.budget.within(raised):
                    steps.append(((costs[now] - costs[then]) / (prices[then] - prices[now]), raised))
        if not steps:
            return genome
        genome = max(steps, key=lambda step: step[0])[1]
