"""Roulette-wheel selection."""

import math
import random
from collections.abc import Sequence

from evoprune import Individual


def roulette(individuals: Sequence[Individual], k: int) -> list[Individual]:
    """Draw k parents with a chance in proportion to how far their fitness is above the worst.

    The windowed form of Goldberg, "Genetic Algorithms in Search, Optimization, and Machine Learning", 1989, ch. 4.
    Failed individuals, the worst, and those that violate constraints more than another are not drawn, unless there are
    no others.
    """
    least = min(individual.fitness.violation for individual in individuals)
    scored = [
        individual
        for individual in individuals
        if individual.fitness.violation == least and math.isfinite(individual.fitness.wvalues[0])
    ]
    if not scored:
        return random.choices(individuals, k=k)
    worst = min(individual.fitness.wvalues[0] for individual in scored)
    shares = [individual.fitness.wvalues[0] - worst for individual in scored]
    return random.choices(scored, shares if any(shares) else None, k=k)
