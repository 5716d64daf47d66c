"""Mutation of genomes of several parts."""

import random
from collections.abc import Callable, Sequence

from evoprune import Individual


def parts(individual: Individual, *, of_parts: Sequence[Callable[..., tuple[Individual]]]) -> tuple[Individual]:
    """Change one part, drawn at random, by the operator of its space."""
    place = random.randrange(len(of_parts))
    (individual[place],) = of_parts[place](individual[place])
    return (individual,)
