"""Gaussian mutation of bounded size."""

from operator import add, sub
from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Fraction, Genes, Individual
from evoprune.interfaces.schema import Positive
from evoprune.operators.moves import another_level, clip_genes


def gaussian(
    individual: Individual,
    *,
    genes: Genes,
    sigma: Annotated[Positive, Field(description="standard deviation of a change; of levels, a share of them")] = 0.05,
    limit: Annotated[Positive, Field(description="the largest change of a gene; of levels, a share of them")] = 0.10,
    indpb: Annotated[Fraction, Field(description="probability of a change, for each gene")] = 0.3,
) -> tuple[Individual]:
    """Add normal noise to some genes, none by more than limit (0.10 in the ESILV report, 2025), or one level."""
    before = list(individual)
    (individual,) = tools.mutGaussian(individual, 0.0, [sigma * unit for unit in genes.units], indpb)
    noisy = list(individual)
    reach = [limit * unit for unit in genes.units]
    clip_genes(individual, list(map(sub, before, reach)), list(map(add, before, reach)))
    clip_genes(individual, genes.low, genes.up)
    for place in genes.with_levels:
        if noisy[place] != before[place]:
            # At a bound, clipping hides the side that the noise was on.
            far = individual[place] if individual[place] != before[place] else noisy[place]
            individual[place] = another_level(genes[place], before[place], far)
    return (individual,)
