"""The ways to choose types that are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from operators.algorithm.level_costs import level_costs

from evoprune import Algorithm, Evaluate, Generation, Individual
from operators.algorithm.additive import additive
from operators.algorithm.equal_marginals import equal_marginals
from operators.algorithm.greedy import greedy
from operators.algorithm.level_switching import level_switching
from tests.benchmarks.bits.costs import Costs, first_order, fisher, imatrix
from tests.benchmarks.bits.evopress import evopress
from tests.benchmarks.bits.kinds import Kinds
from tests.benchmarks.bits.solvers import Solver, dynamic, lagrangian, mip
from tests.benchmarks.bits.task import Task

Way = Callable[[Task, Kinds], Algorithm]


def _one(genome: list[float]) -> Algorithm:
    found = [Individual(genome)]
    yield Evaluate(found)
    yield Generation(found)


def summed(costs: Costs, solver: Solver) -> Way:
    """The one genome that ``solver`` makes of ``costs``."""

    def way(task: Task, kinds: Kinds) -> Algorithm:
        yield from _one(solver(task, costs(task, kinds)))

    return way


def _start(task: Task, _: Kinds) -> Algorithm:
    """The knapsack of measured costs, which ``additive`` starts from."""
    dense = Individual(task.budget.extreme(most=True))
    yield Evaluate([dense], task.screening, probe=True)
    costs = yield from level_costs(dense, task.choices, task.screening)
    yield from _one(task.choices.best(costs))


def _given(task: Task) -> dict[str, Any]:
    """What the product's searches are given."""
    return {
        "toolbox": task.toolbox(),
        "initial_genomes": task.problem.initial_genomes(),
        "screening": task.screening,
    }


ONCE: dict[str, Way] = {
    "uniform": lambda task, _: _one(task.uniform),
    "imatrix error, Lagrangian": summed(imatrix, lagrangian),
    "first order, DP": summed(first_order, dynamic),
    "Fisher, MIP": summed(fisher, mip),
    "measured costs, DP": _start,
}
"""These draw nothing at random."""

SEEDED: dict[str, Way] = {
    "additive": lambda task, _: additive(**_given(task), budget=task.budget),
    "equal_marginals": lambda task, _: equal_marginals(**_given(task), budget=task.budget),
    "greedy": lambda task, _: greedy(**_given(task), budget=task.budget),
    "level_switching": lambda task, _: level_switching(**_given(task)),
    "EvoPress": lambda task, _: evopress(task),
    "EvoPress, 16 children": lambda task, _: evopress(task, 16, (8, 2)),
}

OURS = ("additive", "measured costs, DP", "equal_marginals", "greedy", "level_switching")
"""The product's searches, and what one of them starts from; the others are rivals."""

WAYS = ONCE | SEEDED
