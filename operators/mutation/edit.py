"""Edits of sequences."""

import random

from evoprune import Individual


def edit(individual: Individual, *, low: int, up: int) -> tuple[Individual]:
    """Insert, delete or replace one element, equally likely; new ones are drawn evenly."""
    removed, inserted = random.choice([(0, 1), (1, 0), (1, 1)])
    place = random.randint(0, len(individual) - removed)
    individual[place : place + removed] = [random.randint(low, up)][:inserted]
    return (individual,)
