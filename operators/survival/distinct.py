"""Elitist survival without copies."""

from collections.abc import Sequence
from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Individual


def distinct(
    individuals: Sequence[Individual],
    *,
    fraction: Annotated[float, Field(gt=0, lt=1, description="share of the population that passes on, at most")] = 0.5,
) -> list[Individual]:
    """The best fraction of different genomes passes on unchanged, one at least: copies would take over a population."""
    different = {individual.genome: individual for individual in individuals}
    return list(tools.selBest([*different.values()], max(1, round(fraction * len(individuals)))))
