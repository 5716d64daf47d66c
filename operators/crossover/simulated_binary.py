"""Simulated binary crossover, SBX."""

from collections.abc import Sequence
from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Individual
from evoprune.interfaces.schema import Positive
from evoprune.operators.moves import clip_genes


def simulated_binary(
    first: Individual,
    second: Individual,
    *,
    low: Sequence[float],
    up: Sequence[float],
    eta: Annotated[Positive, Field(description="crowding: the larger, the nearer to the parents")] = 15.0,
) -> tuple[Individual, Individual]:
    """SBX: children spread around their parents as one-point crossover of bit strings would.

    Deb and Agrawal, "Simulated Binary Crossover for Continuous Search Space", Complex Systems 9, 1995.
    """
    clip_genes(first, low, up)
    clip_genes(second, low, up)
    first, second = tools.cxSimulatedBinaryBounded(first, second, eta, low, up)
    return first, second
