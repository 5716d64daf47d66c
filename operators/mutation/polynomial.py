"""Polynomial mutation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Fraction, Individual, Positive
from operators.bounds import clip_genes


def polynomial(
    individual: Individual,
    *,
    low: Sequence[float],
    up: Sequence[float],
    eta: Annotated[Positive, Field(description="crowding: the larger, the smaller the changes")] = 20.0,
    indpb: Annotated[Fraction, Field(description="probability of a change, for each gene")] = 0.3,
) -> tuple[Individual]:
    """Change some genes by a polynomial distribution over what the bounds leave.

    Deb and Goyal, "A Combined Genetic Adaptive Search (GeneAS) for Engineering Design",
    1996. Fixed genes, by whose range DEAP's function would divide, are passed over, and
    genes are clipped first: outside the bounds it would meet complex numbers.
    """
    clip_genes(individual, low, up)
    free = [i for i in range(len(individual)) if low[i] < up[i]]
    genes = [individual[i] for i in free]
    tools.mutPolynomialBounded(genes, eta, [low[i] for i in free], [up[i] for i in free], indpb)
    for i, gene in zip(free, genes, strict=True):
        individual[i] = gene
    return (individual,)
