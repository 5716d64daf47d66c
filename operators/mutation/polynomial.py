"""Polynomial mutation."""

from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Fraction, Genes, Individual
from evoprune.interfaces.schema import Positive
from evoprune.operators.moves import another_level, clip_genes


def polynomial(
    individual: Individual,
    *,
    genes: Genes,
    eta: Annotated[Positive, Field(description="crowding: the larger, the smaller the changes")] = 20.0,
    indpb: Annotated[Fraction, Field(description="probability of a change, for each gene")] = 0.3,
) -> tuple[Individual]:
    """Change some genes by a polynomial distribution over what the bounds leave.

    Deb and Goyal, "A Combined Genetic Adaptive Search (GeneAS) for Engineering Design", 1996. A gene with levels that
    is drawn to change moves by at least one level.
    """
    clip_genes(individual, genes.low, genes.up)
    free = genes.free
    # Levels have half a level more on either side: a gene at the last of them would often not change.
    margins = [0.5 if genes[place].levels else 0.0 for place in free]
    low = [genes[place].low - margin for place, margin in zip(free, margins, strict=True)]
    up = [genes[place].up + margin for place, margin in zip(free, margins, strict=True)]
    changed = [individual[place] for place in free]
    tools.mutPolynomialBounded(changed, eta, low, up, indpb)
    for place, value in zip(free, changed, strict=True):
        levels, old = genes[place].levels, individual[place]
        individual[place] = another_level(genes[place], old, value) if levels and value != old else value
    return (individual,)
