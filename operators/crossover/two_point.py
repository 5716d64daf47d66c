"""Two-point crossover."""

from __future__ import annotations

from deap import tools

from evoprune import Individual


def two_point(first: Individual, second: Individual) -> tuple[Individual, Individual]:
    """Exchange the genes between two random cuts.

    De Jong, "An Analysis of the Behavior of a Class of Genetic Adaptive Systems", 1975.
    A genome of one gene has no two cuts and stays as it is.
    """
    if len(first) < 2:
        return first, second
    first, second = tools.cxTwoPoint(first, second)
    return first, second
