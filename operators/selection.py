"""Selection, ``select(individuals, k)``, of parents, and survival, ``survive(individuals)``, of the best."""

import random
from collections.abc import Sequence
from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Individual
from evoprune.operators.algorithm.breeding import fittest


def tournament(
    individuals: Sequence[Individual],
    k: int,
    *,
    tournsize: Annotated[int, Field(ge=1, description="individuals in a tournament")] = 3,
) -> list[Individual]:
    """Each of k parents is the best of tournsize drawn at random (Goldberg and Deb, FOGA 1, 1991)."""
    return list(tools.selTournament(individuals, k, tournsize))


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


def elitist(
    individuals: Sequence[Individual],
    *,
    fraction: Annotated[float, Field(gt=0, lt=1, description="share of the population that passes on")] = 0.5,
) -> list[Individual]:
    """The best fraction passes on unchanged (0.5 in the ESILV report, 2025), one at least.

    De Jong, "An Analysis of the Behavior of a Class of Genetic Adaptive Systems", 1975.
    """
    return list(tools.selBest(individuals, max(1, round(fraction * len(individuals)))))
