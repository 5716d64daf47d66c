"""Gaussian mutation of bounded size."""

import random
from typing import Annotated

from pydantic import Field

from evoprune import Fraction, Genes, Individual
from evoprune.operators.moves import another_level, clip
from evoprune.plugins import Positive


def gaussian(
    individual: Individual,
    *,
    genes: Genes,
    sigma: Annotated[
        Positive, Field(description="standard deviation of a change, as a share of the gene's range")
    ] = 0.05,
    limit: Annotated[Positive, Field(description="the largest change, as a share of the gene's range")] = 0.10,
    indpb: Annotated[Fraction, Field(description="probability of a change, for each gene")] = 0.3,
) -> tuple[Individual]:
    """Add normal noise to some genes, none by more than limit (0.10 in the ESILV report, 2025), or one level."""
    for place, (old, span) in enumerate(zip(individual, genes.spans, strict=True)):
        if random.random() < indpb and (noisy := old + random.gauss(0.0, sigma * span)) != old:
            gene, reach = genes[place], limit * span
            new = clip(clip(noisy, old - reach, old + reach), gene.low, gene.up)
            # At a bound, clipping hides the side that the noise was on.
            individual[place] = another_level(gene, old, new if new != old else noisy) if gene.levels else new
    return (individual,)
