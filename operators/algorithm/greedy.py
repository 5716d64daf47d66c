"""Greedy removal, then local search by exchanges; both measure steps of single genes."""

import math
import random
from collections.abc import Generator, Iterator, Sequence
from itertools import chain, islice, product
from typing import Annotated

from deap import base
from pydantic import Field

from evoprune import Algorithm, Budget, Evaluate, Individual
from evoprune.operators.algorithm.breeding import (
    Count,
    Genomes,
    Share,
    advance,
    check_limited,
    first_population,
    fittest,
    loss_changes,
    repaired,
    screened,
)
from evoprune.operators.moves import clip
from evoprune.plugins import ROUNDING

_ROUNDS = 16  # of the first removal, each with new measurements
_KICK = 2  # random exchanges from the best genome when all its neighbours are scored
_WIDTH = 0.1  # of a step, as a share of a gene's range; of genes with levels at least one level
Move = tuple[int, float]  # a gene, and the direction of its step: saving (1.0) or spending (-1.0)
Steps = dict[Move, float]  # the change of the loss by each move


def greedy(
    toolbox: base.Toolbox, *, budget: Budget, initial_genomes: Genomes,
    screening: Annotated[Share, Field(description="share of the data for steps and exchanges")] = 0.125,
    remeasured: Annotated[Count, Field(description="cheapest steps measured again in a round of removal")] = 8,
    offspring: Annotated[Count, Field(description="exchanges screened in a generation")] = 16,
    survivors: Annotated[Count, Field(description="of these, scored on all data")] = 2,
) -> Algorithm:  # fmt: skip
    """Apply the steps with the least loss per saved unit until the limit is met, then exchange steps.

    The removal is the greedy algorithm for knapsacks (Dantzig, Operations Research 5, 1957); the cheapest steps are
    measured again in each round (lazy greedy: Minoux, 1978). Then, in a local search, one gene saves a step and another
    spends one, with the cheapest further steps that the budget needs. The most promising neighbours are screened, and
    the best scored on all data. Steps are measured again after a generation without improvement; when all
    neighbours are scored, two random exchanges follow (iterated local search: Lourenço, Martin and Stützle, 2003).
    """
    check_limited(budget, "greedy")
    best = yield from advance([], first_population(toolbox, max(1, len(initial_genomes)), initial_genomes))
    removed = yield from _removed(toolbox, best, budget, screening, remeasured)
    current = best = yield from advance([best], [removed])
    seen = {best.genome}
    while True:
        steps = yield from _measured(current, budget, screening)
        neighbours = _neighbours(toolbox, current, steps, budget, seen)
        fresh = True
        while children := [*islice(neighbours, offspring)]:
            finalists = yield from screened(children, survivors, screening)
            best = yield from advance([best], finalists)
            (leader,) = fittest(finalists, 1)
            if leader.fitness > current.fitness:
                steps = _turned(steps, current, leader, budget)
                current, fresh = leader, False
                neighbours = _neighbours(toolbox, current, steps, budget, seen)
            elif not fresh:
                break
        else:
            current = _kicked(toolbox, best, budget)
            best = yield from advance([best], [current])


def _removed(
    toolbox: base.Toolbox, parent: Individual, budget: Budget, screening: float, remeasured: int
) -> Generator[Evaluate, None, Individual]:
    """Return an unscored genome within the budget, by greedy steps from the one that spends the most."""
    current = parent.child(budget.extreme(most=True))
    costs: dict[int, float] = {}
    quota = budget.excess(current) / _ROUNDS
    while (excess := budget.excess(current)) > ROUNDING:
        saved = {gene: budget.share(current) - budget.share(_moved(current, gene, 1.0, budget)) for gene in budget.free}
        open_ = [gene for gene in budget.free if saved[gene] > 0]
        if not open_:
            break
        due = sorted(open_, key=lambda gene: costs.get(gene, -math.inf) / min(saved[gene], excess))
        due = due[: remeasured + sum(gene not in costs for gene in due)]
        changes = yield from _changes(current, [(gene, 1.0) for gene in due], budget, screening)
        costs |= {gene: change for (gene, _), change in changes.items()}
        goal = excess - quota
        for gene in sorted(due, key=lambda gene: costs[gene] / min(saved[gene], excess)):
            current = _moved(current, gene, 1.0, budget)
            if budget.excess(current) <= max(goal, ROUNDING):
                break
    return repaired(toolbox, current.child())


def _measured(current: Individual, budget: Budget, screening: float) -> Generator[Evaluate, None, Steps]:
    """Return the change of the loss by each possible step of one gene from ``current``."""
    moves = [move for move in product(budget.free, (1.0, -1.0)) if _moved(current, *move, budget) != current]
    return (yield from _changes(current, moves, budget, screening))


def _changes(
    current: Individual, moves: Sequence[Move], budget: Budget, screening: float
) -> Generator[Evaluate, None, Steps]:
    changes = yield from loss_changes(current, [_moved(current, *move, budget) for move in moves], screening)
    return dict(zip(moves, changes, strict=True))


def _turned(steps: Steps, current: Individual, leader: Individual, budget: Budget) -> Steps:
    """Return ``steps`` for ``leader``: a gene that moved regains its loss by moving back."""
    turned = dict(steps)
    for gene in budget.free:
        if leader[gene] != current[gene]:
            way = math.copysign(1.0, (leader[gene] - current[gene]) * budget.directions[gene])
            turned[gene, -way] = -steps.get((gene, way), 0.0)
    return turned


def _moved(genome: Individual, place: int, way: float, budget: Budget) -> Individual:
    """Return a child with one gene a step in its saving (``way`` 1.0) or spending (-1.0) direction, within bounds."""
    child, gene = genome.child(), budget.genes[place]
    width = max(1, round(_WIDTH * gene.up)) if gene.levels else _WIDTH * (gene.up - gene.low)
    child[place] = clip(child[place] + math.copysign(width, way * budget.directions[place]), gene.low, gene.up)
    return child


def _neighbours(
    toolbox: base.Toolbox, current: Individual, steps: Steps, budget: Budget, seen: set[tuple[float, ...]]
) -> Iterator[Individual]:
    """Yield repaired children within the budget, the most promising by ``steps`` first, and add them to ``seen``."""
    for moves in sorted(_exchanges(current, steps, budget), key=lambda moves: sum(steps[move] for move in moves)):
        child = current.child()
        for move in moves:
            child[:] = _moved(child, *move, budget)
        child = repaired(toolbox, child)
        if child.genome not in seen and budget.within(child):
            seen.add(child.genome)
            yield child


def _exchanges(current: Individual, steps: Steps, budget: Budget) -> Iterator[list[Move]]:
    """Yield exchanges: one gene saves a step, another spends one, and cheap steps of others reach the limit."""
    shares = {move: budget.share(_moved(current, *move, budget)) - budget.share(current) for move in steps}
    saving = sorted((move for move in steps if shares[move] < 0), key=lambda move: -steps[move] / shares[move])
    spending = sorted((move for move in steps if shares[move] > 0), key=lambda move: steps[move] / shares[move])
    savers, spenders = ([move for move in steps if move[1] == way] for way in (1.0, -1.0))
    for saver, spender in product(savers, spenders):
        if saver[0] == spender[0]:
            continue
        moves, moved = [saver, spender], {saver[0], spender[0]}
        excess = budget.excess(_moved(_moved(current, *saver, budget), *spender, budget))
        for move in chain(saving, spending):
            saves = shares[move] < 0
            if move[0] not in moved and (excess > ROUNDING if saves else excess + shares[move] <= ROUNDING):
                moves.append(move)
                moved.add(move[0])
                excess += shares[move]
        yield moves


def _kicked(toolbox: base.Toolbox, best: Individual, budget: Budget) -> Individual:
    current = best
    for _ in range(_KICK):
        possible = dict.fromkeys(product(budget.free, (1.0, -1.0)), 0.0)
        exchanges = [*_neighbours(toolbox, current, possible, budget, set())]
        current = random.choice(exchanges) if exchanges else current
    return current
