"""Elitist survival."""

from collections.abc import Sequence
from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Individual


def elitist(
    individuals: Sequence[Individual],
    *,
    fraction: Annotated[float, Field(gt=0, lt=1, description="share of the population that passes on")] = 0.5,
) -> list[Individual]:
    """The best fraction passes on unchanged (0.5 in the ESILV report, 2025), one at least.

    De Jong, "An Analysis of the Behavior of a Class of Genetic Adaptive Systems", 1975.
    """
    return list(tools.selBest(individuals, max(1, round(fraction * len(individuals)))))
