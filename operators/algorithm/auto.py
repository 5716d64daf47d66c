"""The choice of an algorithm for ``algorithm: auto``, of a population, and of the operators that the algorithm uses.

An operator that is None is the default one of the space.
"""

import math
from typing import Any

from evoprune import Problem

_MOST = 30  # genes with many levels for cma, whose time grows with their square
_FEW = 10  # levels of a gene, on which cma's model is worse than single steps
_MIXED = 1000  # genes for optimal_mixing, whose time and memory grow with their square
_BRED = {
    "algorithm": "generational", "select": "tournament", "mate": "two_point", "mutate": "levels", "survive": "distinct",
}  # fmt: skip


def of_space(problem: Problem) -> tuple[dict[str, Any], int]:
    """Choose an algorithm that breeds by the operators of the problem's space; return it by slot, and a population."""
    if len(problem.signs) > 1:
        return {"algorithm": "nsga2"}, 100
    return {"algorithm": "generational"}, 100


def climbing(problem: Problem, mutate: str | None = None) -> tuple[dict[str, Any], int]:
    """Choose local search for one objective: the best, or as good as the best, except for genes and trees."""
    if len(problem.signs) > 1:
        return of_space(problem)
    return {"algorithm": "iterated_local_search", "mutate": mutate}, 20


def of_permutations(problem: Problem) -> tuple[dict[str, Any], int]:
    """Choose as :func:`climbing`, with the mutation that is the best for tours, schedules and assignments."""
    return climbing(problem, "rearrange")


def auto(problem: Problem) -> tuple[dict[str, Any], int]:
    """Choose an algorithm by genes, objectives and limit; return operators by slot, and a population.

    The rules follow the table in docs/measurements/engine.md. The numbers of evaluations and workers do not matter, so
    that a search can be continued with more.
    """
    if len(problem.signs) > 1:
        return {"algorithm": {"use": "nsga2", "pool": 10}}, 20
    if problem.budget is not None and problem.budget.limit is not None:
        return {"algorithm": "additive", "mutate": "exchange", "repair": "shift"}, 20
    count, levels = len(problem.genes), all(gene.levels for gene in problem.genes)
    if levels and count > (_MOST if problem.noisy else _MIXED):
        return dict(_BRED), 50
    if problem.noisy:
        return {"algorithm": "response_surface"}, 20
    if levels and (count > _MOST or all(not gene.ordered or len(gene.levels) <= _FEW for gene in problem.genes)):
        return {"algorithm": "optimal_mixing", "mutate": "levels"}, 20
    return {"algorithm": "cma"}, 4 + int(3 * math.log(count))  # Hansen's default
