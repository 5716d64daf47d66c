"""Greedy removal, one step of one gene after the other, and then swaps."""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Annotated

from deap import base
from pydantic import Field

from evoprune import Algorithm, Budget, Evaluate, Generation, Individual
from evoprune.budget import ROUNDING
from operators.algorithm.breeding import cost, first_population, fittest, losses
from operators.bounds import clip
from operators.spending import need

_BATCH = 64
"""The most swaps that are scored before the best of them is taken."""

_KICK = 2
"""Random swaps of the best genome when no swap of the present one improves it."""

_WIDTH = 0.1
"""A step, as a share of a gene's range; of genes with levels at least one level."""


def greedy(
    toolbox: base.Toolbox,
    *,
    budget: Budget | None,
    initial_genomes: Sequence[Sequence[float]],
    screening: Annotated[float, Field(gt=0, le=1, description="share of the data for steps and swaps")] = 1.0,
) -> Algorithm:
    """Remove what costs the least for what it saves until the budget is kept, then swap.

    From the genome that spends the most, each step moves the gene whose loss per unit saved is the least; what is
    saved beyond the limit does not count. This is the greedy algorithm for knapsacks (Dantzig, Operations Research
    5, 1957) with costs measured anew after each step. Then iterated local search (Lourenço, Martin and Stützle, 2003):
    swaps, a step that saves in one gene and a step that spends in another, are scored and the best is taken; where
    none is better, two random swaps of the best genome are the next start. Raises ValueError where there is no limit.
    """
    budget = need(budget, "operators.algorithm: greedy")
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    yield Evaluate(people)
    (best,) = fittest(people, 1)
    yield Generation([best])
    here = yield from _removed(toolbox, best, budget, screening)
    while True:
        yield Evaluate([here])
        (best,) = fittest([best, here], 1)
        yield Generation([best])
        swaps = _swaps(toolbox, here, budget)
        while batch := [*islice(swaps, _BATCH)]:
            if screening < 1:
                yield Evaluate(batch, screening)
                batch = fittest(batch, 1)
            yield Evaluate(batch)
            (leader,) = fittest([here, *batch], 1)
            (best,) = fittest([best, leader], 1)
            yield Generation([best])
            if leader is not here:
                here, swaps = leader, _swaps(toolbox, leader, budget)
        here = best.child()
        for _ in range(_KICK):
            here = next(_swaps(toolbox, here, budget), here)


def _removed(
    toolbox: base.Toolbox, parent: Individual, budget: Budget, screening: float
) -> Generator[Evaluate, None, Individual]:
    """The genome on the budget that greedy steps lead to from the one that spends the most; not scored yet."""
    here = parent.child()
    here[:] = budget.extreme(most=True)
    while (excess := budget.excess(here)) > ROUNDING:
        steps = [_moved(here, gene, 1.0, budget) for gene in budget.free]
        saved = [min(budget.share(here) - budget.share(step), excess) for step in steps]
        if not any(share > 0 for share in saved):
            break
        yield Evaluate([here, *steps], screening, probe=True)
        before, *after = losses([cost(one) for one in (here, *steps)])
        costs = [(loss - before) / share if share > 0 else math.inf for loss, share in zip(after, saved, strict=True)]
        here = steps[costs.index(min(costs))]
    return toolbox.repair(here.child())[0]  # type: ignore[no-any-return]


def _moved(genome: Individual, place: int, way: float, budget: Budget) -> Individual:
    """A child with one gene a step further to where it saves (``way`` 1.0) or spends (-1.0), within its bounds."""
    child, gene = genome.child(), budget.genes[place]
    width = max(1, round(_WIDTH * gene.up)) if gene.levels else _WIDTH * (gene.up - gene.low)
    child[place] = clip(child[place] + math.copysign(width, way * budget.directions[place]), gene.low, gene.up)
    return child


def _swaps(toolbox: base.Toolbox, parent: Individual, budget: Budget) -> Iterator[Individual]:
    """In random order, the repaired children in which one gene saves a step and another spends one.

    Without a repair, those above the limit are left out.
    """
    savers, spenders = ([g for g in budget.free if _moved(parent, g, way, budget) != parent] for way in (1.0, -1.0))
    pairs = [(saver, spender) for saver in savers for spender in spenders if saver != spender]
    for saver, spender in random.sample(pairs, len(pairs)):
        child = parent.child()
        child[:] = _moved(_moved(parent, saver, 1.0, budget), spender, -1.0, budget)
        (child,) = toolbox.repair(child)
        if budget.excess(child) <= ROUNDING:
            yield child
