"""Uniform crossover."""

from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Fraction, Individual


def uniform(
    first: Individual,
    second: Individual,
    *,
    indpb: Annotated[Fraction, Field(description="probability of exchange, for each gene")] = 0.5,
) -> tuple[Individual, Individual]:
    """Exchange each gene with probability indpb (Syswerda, "Uniform Crossover in Genetic Algorithms", 1989)."""
    first, second = tools.cxUniform(first, second, indpb)
    return first, second
