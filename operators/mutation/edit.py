"""Edits of sequences."""

import random

from evoprune import Individual


def edit(individual: Individual, *, low: int, up: int) -> tuple[Individual]:
    """Insert, delete or replace one element, equally likely; new ones are drawn evenly."""
    place, new = random.randrange(len(individual)), [random.randint(low, up)]
    begin, end, elements = random.choice([(place, place, new), (place, place + 1, []), (place, place + 1, new)])
    individual[begin:end] = elements
    return (individual,)
