"""Truncation selection."""

import random
from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated

from pydantic import Field

from evoprune import Individual


def truncation(
    individuals: Sequence[Individual],
    k: int,
    *,
    fraction: Annotated[float, Field(gt=0, le=1, description="share of the population that may breed")] = 0.5,
) -> list[Individual]:
    """Draw k different parents at random from the best fraction of the population, or the best k.

    Muehlenbein and Schlierkamp-Voosen, "Predictive Models for the Breeder Genetic Algorithm", 1993.
    """
    ranked = sorted(individuals, key=attrgetter("fitness.order"), reverse=True)
    return random.sample(ranked[: max(k, round(fraction * len(individuals)))], k)
