"""What the laws of operators are tried on."""

from __future__ import annotations

import pytest

from evoprune import Individual


def scored(values, weight=-1.0):
    population = []
    for ident, value in enumerate(values):
        individual = Individual([float(ident)], (weight,))
        individual.fitness.values = (value,)
        population.append(individual)
    return population


@pytest.fixture(name="scored")
def scored_fixture():
    """Makes a population with the given fitness values; the one gene is the place in it."""
    return scored
