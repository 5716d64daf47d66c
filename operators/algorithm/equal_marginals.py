"""Search that measures the marginal cost of each gene, and equalises the costs."""

import math
from collections.abc import Generator, Sequence
from typing import Annotated

from deap import base
from pydantic import Field

from evoprune import Algorithm, Budget, Evaluate, Fraction, Individual
from evoprune.operators.algorithm.breeding import (
    Count,
    Genomes,
    Share,
    advance,
    first_population,
    fittest,
    loss_changes,
    mutant,
    repaired,
)
from evoprune.operators.moves import clip, levels_between
from evoprune.plugins import Positive

_FACTORS = (0.5, 1.0, 2.0)  # step sizes tried along each direction, relative to ``step``
_MIN_STEP, _MAX_STEP = 0.005, 0.3  # bounds of the step, so that noise cannot end the search
_FLOOR = 0.1  # least marginal cost, as a share of the median, as smaller ones are noise


def equal_marginals(
    toolbox: base.Toolbox, *, budget: Budget, initial_genomes: Genomes,
    probe: Annotated[Positive, Field(description="how far a gene is moved to measure its cost")] = 0.08,
    screening: Annotated[Share, Field(description="share of the data for probes and moves")] = 0.25,
    step: Annotated[Share, Field(description="first change of a gene for each e-fold of the marginal cost")] = 0.06,
    memory: Annotated[Fraction, Field(description="weight of earlier measurements in the averaged direction")] = 0.5,
    mutants: Annotated[Count, Field(description="mutants screened in a generation without probes")] = 16,
    mutant_screening: Annotated[Share, Field(description="share of the data for mutants")] = 0.125,
    survivors: Annotated[Count, Field(description="children left after the screening, scored on all data")] = 2,
    patience: Annotated[Count, Field(description="generations of mutants after a failed measurement, doubled")] = 4,
) -> Algorithm:  # fmt: skip
    """Equalise the genes' marginal costs; where that does not improve the best, mutate it.

    At the optimal allocation of a budget, saving one more unit costs the same in every gene (the Lagrange condition).
    So each gene alone is moved by ``probe`` in the direction that saves, to measure its marginal cost on a part of the
    data, and moved back by ``step`` for each e-fold of the marginal cost above the mean. Several step sizes, along this
    measurement and along the average of the last ones, are screened, and the survivors scored on all data. Genes at
    their saving bounds are also tried at their values in the first genome: a layer that is almost removed has a small
    marginal cost. After a measurement without improvement, mutants of the best are screened for ``patience``
    generations, a number that doubles each time. For one objective; ``probe`` and ``step`` are shares of a range.
    """
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    origin, best = people[0], (yield from advance([], people))
    average: list[float] = []
    resting = 0
    while True:
        moves: list[tuple[float, Individual]] = []
        if resting:
            children = [mutant(toolbox, best) for _ in range(mutants)]
        else:
            costs = yield from log_marginals(best, budget, probe, screening)
            average = [memory * old + (1 - memory) * new for old, new in zip(average or costs, costs, strict=True)]
            moves = [
                (factor, _moved(toolbox, best, direction, factor * step, budget))
                for direction in (costs, average)
                for factor in _FACTORS
            ]
            moves += [(1.0, child) for child in _released(toolbox, best, origin, budget)]
            children = [child for _, child in moves]
        yield Evaluate(children, screening if moves else mutant_screening)
        chosen = fittest(children, survivors)
        before, best = best, (yield from advance([best], chosen))
        if moves:
            (leader,) = fittest(chosen, 1)
            taken = next(factor for factor, child in moves if child is leader)
            step = min(max(step * taken, _MIN_STEP), _MAX_STEP)
            if best is before:
                resting, patience = patience, 2 * patience
        else:
            resting -= 1


def log_marginals(
    centre: Individual, budget: Budget, probe: float, screening: float
) -> Generator[Evaluate, None, list[float]]:
    """Return the logarithm of each gene's cost of a saved unit, minus their weighted mean; 0 for fixed genes.

    Steps along the result keep the budget. ``probe``: change of each gene, as a share of the gene's range, at least one
    level.
    """
    free, weights = budget.free, budget.span_costs
    probes = [_probe(centre, gene, budget, probe) for gene in free]
    changes = yield from loss_changes(centre, probes, screening)
    prices = [budget.price(centre, gene, moved[gene] - centre[gene]) for gene, moved in zip(free, probes, strict=True)]
    costs = [change / -price if price else 0.0 for price, change in zip(prices, changes, strict=True)]
    floor = _FLOOR * sorted(map(abs, costs))[len(costs) // 2] if costs else 0.0
    logs = [math.log(max(cost, floor, 1e-300)) for cost in costs]
    share = sum(weights[gene] for gene in free) or 1.0
    mean = sum(weights[gene] * value for gene, value in zip(free, logs, strict=True)) / share
    marginals = [0.0] * len(weights)
    for gene, value in zip(free, logs, strict=True):
        marginals[gene] = value - mean
    return marginals


def _probe(centre: Individual, place: int, budget: Budget, probe: float) -> Individual:
    """Return ``centre`` with one gene moved to save or, at its bound, to spend; levels move until the cost changes."""
    gene, moved = budget.genes[place], centre.child()
    sign = 1.0 if budget.directions[place] > 0 else -1.0
    width = max(probe * gene.span, 1.0) if gene.levels else probe * gene.span
    room, back = gene.up - moved[place], moved[place] - gene.low
    if sign < 0:
        room, back = back, room
    if room > width / 4 or room > back:
        moved[place] += sign * min(width, room)
    else:
        moved[place] = clip(moved[place] - sign * width, gene.low, gene.up)
    if gene.levels:
        first, current = gene.nearest(moved[place]), gene.nearest(centre[place])
        ends = (gene.up, gene.low) if first > current else (gene.low, gene.up)
        levels = [*levels_between(first, ends[0]), *levels_between(current, ends[1])]
        moved[place] = next((level for level in levels if budget.price(centre, place, level - current)), first)
    return moved


def _released(toolbox: base.Toolbox, parent: Individual, origin: Individual, budget: Budget) -> list[Individual]:
    """Return repaired children, each with one of the genes at a saving bound back at its value in ``origin``."""
    return [
        repaired(toolbox, parent.child([*parent[:place], origin[place], *parent[place + 1 :]]))
        for place, bound in enumerate(budget.extreme(most=False))
        if budget.genes[place].free and (parent[place] - bound) * budget.directions[place] >= 0
    ]


def _moved(
    toolbox: base.Toolbox, parent: Individual, costs: Sequence[float], step: float, budget: Budget
) -> Individual:
    rows = zip(parent, costs, budget.directions, strict=True)
    return repaired(toolbox, parent.child(gene - step * cost * direction for gene, cost, direction in rows))
