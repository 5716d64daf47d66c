"""Polynomial mutation."""

from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Fraction, Genes, Individual
from evoprune.plugins import Positive


def polynomial(
    individual: Individual,
    *,
    genes: Genes,
    eta: Annotated[Positive, Field(description="the larger, the smaller the changes")] = 20.0,
    indpb: Annotated[
        Fraction | None, Field(description="probability of a change, for each gene; default: 1/genes")
    ] = None,
) -> tuple[Individual]:
    """Change some genes, by less the nearer they are to a bound (Deb and Agrawal, KanGAL report 99003, 1999).

    Fixed genes are left out: DEAP's function divides by their range.
    """
    low, up = ([bounds[place] for place in genes.free] for bounds in (genes.low, genes.up))
    moved = [individual[place] for place in genes.free]
    tools.mutPolynomialBounded(moved, eta, low, up, 1 / len(genes) if indpb is None else indpb)
    for place, value in zip(genes.free, moved, strict=True):
        individual[place] = value
    return (individual,)
