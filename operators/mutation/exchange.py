"""Level switch: one gene spends as much as another saves."""

import random
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from evoprune import Additive, Budget, Genes, Individual
from evoprune.operators.moves import bound, clip_genes, switch
from evoprune.plugins import Positive


def exchange(
    individual: Individual,
    *,
    genes: Genes,
    budget: Budget,
    step: Annotated[Positive, Field(description="largest move, as the change of a gene of average cost")] = 0.1,
    moves: Annotated[int, Field(ge=1, description="most moves in one mutation; few are likelier than many")] = 3,
) -> tuple[Individual]:
    """Let one gene save and another spend the same amount, once or a few times.

    The level switch of EvoPress (Sieberling et al., ICML 2025, section 3.2), for genes of any cost and moves up to
    ``step``. The spending does not change; with genes with levels, which move by at least one level, it stays within
    the limit, or does not grow. The number of moves is the smaller of two random numbers, as in EvoPress.
    """
    free, costs = budget.free, budget.span_costs
    if len(free) < 2:
        return (individual,)
    for gene in genes.with_levels:
        individual[gene] = genes[gene].nearest(individual[gene])
    average = sum(costs[gene] for gene in free) / len(free)
    for _ in range(min(random.randint(1, moves), random.randint(1, moves))):
        saver, spender = random.sample(free, 2)
        quantum = random.uniform(0, step) * average
        if isinstance(budget, Additive) and not (genes[saver].levels or genes[spender].levels):
            quantum = min(quantum, _room(individual, saver, budget, 1.0), _room(individual, spender, budget, -1.0))
            quantum = max(0.0, quantum)  # a gene beyond its bounds moves no further
            individual[saver] += quantum / costs[saver] * budget.directions[saver]
            individual[spender] -= quantum / costs[spender] * budget.directions[spender]
        else:
            switch(clip_genes(individual, genes.low, genes.up), saver, spender, quantum, budget)
    return (clip_genes(individual, genes.low, genes.up),)


def _room(genome: Sequence[float], gene: int, budget: Budget, way: float) -> float:
    """Return the units that a real ``gene`` can still save (``way`` 1.0) or spend (-1.0); below 0 out of bounds."""
    move = bound(gene, budget, way) - genome[gene]
    return way * move / budget.directions[gene] * budget.span_costs[gene]
