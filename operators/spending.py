"""Moves of single genes that keep within a budget."""

from __future__ import annotations

from collections.abc import Iterator

from evoprune import Budget, Individual, InputError, solve
from operators.bounds import another_level, clip


def need(budget: Budget | None, what: str) -> Budget:
    """``budget``. Raises ValueError where it is None: ``what`` needs one."""
    if budget is None:
        raise ValueError(f"{what} needs a budget, and the problem, as it is set up, has no budget")
    return budget


def need_limit(budget: Budget | None, what: str) -> Budget:
    """As :func:`need`. Raises :class:`evoprune.InputError` where nothing is limited."""
    budget = need(budget, what)
    if budget.limit is None:
        raise InputError(f"{what} needs a limit, and the problem, as it is set up, has none; nsga2 needs none")
    return budget


def bound(gene: int, budget: Budget, way: float) -> float:
    """The bound of ``gene`` where it saves the most (``way`` 1.0) or spends the most (-1.0)."""
    return budget.genes[gene].up if way * budget.directions[gene] > 0 else budget.genes[gene].low


def towards(start: float, end: float) -> Iterator[float]:
    """The levels from ``start`` to ``end``, both included."""
    step = 1.0 if end > start else -1.0
    return (start + step * count for count in range(round(abs(end - start)) + 1))


def switch(genome: Individual, saver: int, spender: int, quantum: float, budget: Budget) -> None:
    """Let gene ``spender`` spend about ``quantum``, in the budget's unit, and gene ``saver`` save what that takes.

    For genes with levels, which move by at least one level, and for budgets of any form. ``genome``, within its
    bounds, then spends no more than the limit or, where that is more, than it did before.
    """
    spent, gene = budget.spent(genome), budget.genes[spender]
    most = spent if budget.limit is None else max(spent, budget.limit)
    old, begin, end = genome[saver], genome[spender], bound(spender, budget, -1.0)
    if begin == end:
        return
    goal = begin - quantum / budget.weights[spender] * budget.directions[spender]
    goal = another_level(gene, begin, goal) if gene.levels else clip(goal, gene.low, gene.up)
    genome[spender] = goal
    _move(genome, saver, old, bound(saver, budget, 1.0), most, budget)
    # The saver may have saved too little or, by whole levels, more than the spender has spent.
    _move(genome, spender, end if budget.genes[saver].levels and not gene.levels else goal, begin, most, budget)
    _move(genome, saver, old, bound(saver, budget, 1.0), most, budget)


def _move(genome: Individual, gene: int, start: float, end: float, most: float, budget: Budget) -> None:
    """Set ``gene`` to the first value from ``start`` to ``end``, which saves, where ``genome`` spends at most ``most``.

    It is set to ``end`` where none does.
    """

    def saved(share: float) -> float:
        genome[gene] = (1 - share) * start + share * end
        return -budget.spent(genome)

    if budget.genes[gene].levels:
        for level in towards(start, end):
            genome[gene] = level
            if budget.spent(genome) <= most:
                break
    elif saved(0.0) < -most:
        saved(solve(saved, -most, 0.0, 1.0))
