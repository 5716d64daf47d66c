"""Truncation selection."""

import random
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from evoprune import Individual
from evoprune.operators.algorithm.breeding import fittest


def truncation(
    individuals: Sequence[Individual],
    k: int,
    *,
    fraction: Annotated[float, Field(gt=0, le=1, description="share of the population that may breed")] = 0.5,
) -> list[Individual]:
    """Draw k different parents at random from the best fraction of the population, or the best k.

    Muehlenbein and Schlierkamp-Voosen, "Predictive Models for the Breeder Genetic Algorithm", 1993.
    """
    return random.sample(fittest(individuals, max(k, round(fraction * len(individuals)))), k)
