"""Search that measures what each gene costs, and moves the budget to where it is cheap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from deap import base
from pydantic import Field

from evoprune import Algorithm, Budget, Evaluate, Fraction, Generation, Individual, Positive
from operators.algorithm.breeding import first_population, fittest, mutant
from operators.algorithm.marginals import log_marginals
from operators.spending import need

_FACTORS = (0.5, 1.0, 2.0)
"""The lengths that are tried along each direction, in steps."""

_SHORTEST, _LONGEST = 0.005, 0.3
"""Bounds of the step, so that neither bad luck nor good luck ends the search."""


def equal_marginals(
    toolbox: base.Toolbox,
    *,
    budget: Budget | None,
    initial_genomes: Sequence[Sequence[float]],
    probe: Annotated[Positive, Field(description="how far a gene is moved to measure its cost")] = 0.08,
    screening: Annotated[float, Field(gt=0, le=1, description="share of the data for probes and moves")] = 0.25,
    step: Annotated[Positive, Field(description="first change of a gene for each e-fold of its marginal cost")] = 0.06,
    memory: Annotated[Fraction, Field(description="weight of earlier measurements in the averaged direction")] = 0.5,
    mutants: Annotated[int, Field(ge=1, description="mutants screened in a generation without probes")] = 16,
    mutant_screening: Annotated[float, Field(gt=0, le=1, description="share of the data for mutants")] = 0.125,
    survivors: Annotated[int, Field(ge=1, description="children left after the screening, scored on all data")] = 2,
    patience: Annotated[
        int, Field(ge=1, description="generations of mutants after a failed measurement, doubled by each")
    ] = 4,
) -> Algorithm:
    """Equalise the genes' marginal costs, and where that no longer helps, mutate the best.

    At the best allocation of a budget, what saving one more unit costs is the same everywhere (the Lagrange
    condition). So, each generation: move each gene alone by ``probe`` to where it saves and take its cost on a part
    of the data; where costs grow exponentially, moving a gene back by ``step`` for each e-fold that its cost per unit
    lies above the mean evens them out. Several lengths of step, along this measurement and along the average of the
    last ones, are screened, and the survivors scored on all data.

    What is lost once costs little more: a layer that is all but gone has a small marginal cost, so that genes at the
    bounds where they save the most would stay there. Each of them is also tried where the first start has it.

    A measurement costs a probe for each gene. When it brings nothing, mutants of the best are screened for some
    generations instead (as in ``level_switching``), which finds what the genes do to each other; for twice as many
    after each that fails. A problem with one objective and a budget is expected, and real genes that are shares:
    ``probe``, ``step`` and the bounds that it is kept within are on a scale of 0 to 1; of genes with levels they are
    shares of their range. Raises ValueError where there is no budget.
    """
    budget = need(budget, "operators.algorithm: equal_marginals")
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    yield Evaluate(people)
    origin, best = people[0], fittest(people, 1)[0]
    average: list[float] = []
    resting = 0
    while True:
        yield Generation([best])
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
        yield Evaluate(chosen)
        (leader,) = fittest(chosen, 1)
        (winner,) = fittest([best, leader], 1)
        if moves:
            taken = next(factor for factor, child in moves if child is leader)
            step = min(max(step * taken, _SHORTEST), _LONGEST)
            if winner is best:
                resting, patience = patience, 2 * patience
        else:
            resting -= 1
        best = winner


def _released(toolbox: base.Toolbox, parent: Individual, origin: Individual, budget: Budget) -> list[Individual]:
    """Repaired children, each with one of the genes that save the most back where it was in ``origin``."""
    children = []
    for gene, end in enumerate(budget.extreme(most=False)):
        if budget.genes[gene].free and (parent[gene] - end) * budget.directions[gene] >= 0:
            child = parent.child()
            child[gene] = origin[gene]
            children.append(toolbox.repair(child)[0])
    return children


def _moved(
    toolbox: base.Toolbox, parent: Individual, costs: Sequence[float], step: float, budget: Budget
) -> Individual:
    """A repaired child whose genes give way by ``step`` for each e-fold of their cost."""
    child = parent.child()
    child[:] = [gene - step * cost * way for gene, cost, way in zip(child, costs, budget.directions, strict=True)]
    (child,) = toolbox.repair(child)
    return child  # type: ignore[no-any-return]
