"""Mutation of genomes of several parts."""

import random
from collections.abc import Callable, Mapping, Sequence

from evoprune import Individual


def parts(
    individual: Individual, *, of_parts: Mapping[str, Sequence[Callable[..., tuple[Individual]]]]
) -> tuple[Individual]:
    """Change one part, drawn at random, by the operator of its space."""
    mutations = of_parts["mutate"]
    place = random.randrange(len(mutations))
    (individual[place],) = mutations[place](individual[place])
    return (individual,)
