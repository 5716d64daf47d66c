"""Blend crossover, BLX-alpha."""

from collections.abc import Sequence
from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Individual
from evoprune.operators.moves import clip_genes


def blend(
    first: Individual,
    second: Individual,
    *,
    low: Sequence[float],
    up: Sequence[float],
    alpha: Annotated[float, Field(ge=0, le=100, description="how far beyond the parents a child may lie")] = 0.5,
) -> tuple[Individual, Individual]:
    """BLX-alpha: a child's gene is drawn from the parents' interval, widened by alpha on both sides.

    Eshelman and Schaffer, "Real-Coded Genetic Algorithms and Interval-Schemata", 1993.
    """
    first, second = tools.cxBlend(first, second, alpha)
    return clip_genes(first, low, up), clip_genes(second, low, up)
