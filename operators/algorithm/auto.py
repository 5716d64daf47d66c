"""The choice of an algorithm for ``algorithm: auto``, of a population, and of the operators that the algorithm uses.

An operator that is None is the default one of the space.
"""

import math
from typing import Any

from evoprune import Problem

_MOST = 30  # genes with levels for cma, whose time grows with their square
_ON_LEVELS = {
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
    if len(problem.genes) > _MOST and all(gene.levels for gene in problem.genes):
        return dict(_ON_LEVELS), 50
    if problem.noisy:
        return {"algorithm": "response_surface"}, 20
    return {"algorithm": "cma"}, 4 + int(3 * math.log(len(problem.genes)))  # Hansen's default
