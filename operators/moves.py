"""Moves of single genes, within their bounds and a budget."""

import random
from collections.abc import Iterator, Sequence

from evoprune import Budget, Gene, Individual
from evoprune.plugins import clipped, solve


def clip(value: float, low: float, up: float) -> float:
    """Return the number in [low, up] nearest to ``value``."""
    return low if value < low else up if value > up else value


def clip_genes(individual: Individual, low: Sequence[float], up: Sequence[float]) -> Individual:
    """Clip every gene to its bounds, in place; a gene with levels may stay between two levels."""
    individual[:] = clipped(individual, low, up)
    return individual


def another_level(gene: Gene, old: float, new: float) -> float:
    """Return a level of ``gene`` other than that of ``old``, if any: nearest to ``new``, or random without an order."""
    before, after = gene.nearest(old), gene.nearest(new)
    if not gene.ordered and gene.free:
        after = float(random.randrange(len(gene.levels) - 1))
        return after + (after >= before)
    if after != before or not gene.free:
        return after
    step = 1.0 if new > old else -1.0
    return before + step if gene.low <= before + step <= gene.up else before - step


def levels_between(start: float, end: float) -> Iterator[float]:
    """Return the levels from ``start`` to ``end``, inclusive."""
    step = 1.0 if end > start else -1.0
    return (start + step * count for count in range(round(abs(end - start)) + 1))


def bound(gene: int, budget: Budget, way: float) -> float:
    """Return the bound of ``gene`` where it saves the most (``way`` 1.0) or spends the most (-1.0)."""
    return budget.genes[gene].up if way * budget.directions[gene] > 0 else budget.genes[gene].low


def switch(genome: Individual, saver: int, spender: int, quantum: float, budget: Budget) -> None:
    """Let ``spender`` spend about ``quantum``, and ``saver`` save it: within the limit, or no more than before."""
    spent, gene = budget.spent(genome), budget.genes[spender]
    most = spent if budget.limit is None else max(spent, budget.limit)
    old, begin, end = genome[saver], genome[spender], bound(spender, budget, -1.0)
    if begin == end:
        return
    goal = begin - quantum / budget.span_costs[spender] * budget.directions[spender]
    goal = another_level(gene, begin, goal) if gene.levels else clip(goal, gene.low, gene.up)
    genome[spender] = goal
    _save(genome, saver, old, bound(saver, budget, 1.0), most, budget)
    # The saver may have saved too little or, in whole levels, too much.
    _save(genome, spender, end if budget.genes[saver].levels and not gene.levels else goal, begin, most, budget)
    _save(genome, saver, old, bound(saver, budget, 1.0), most, budget)


def _save(genome: Individual, gene: int, start: float, end: float, most: float, budget: Budget) -> None:
    """Move ``gene`` from ``start`` towards ``end`` until ``genome`` spends at most ``most``, or to ``end``."""

    def saved(share: float) -> float:
        genome[gene] = (1 - share) * start + share * end
        return -budget.spent(genome)

    if budget.genes[gene].levels:
        for level in levels_between(start, end):
            genome[gene] = level
            if budget.spent(genome) <= most:
                break
    elif saved(0.0) < -most:
        saved(solve(saved, -most, 0.0, 1.0))
