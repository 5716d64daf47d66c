"""Steady-state search: a few children at a time replace the worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from deap import base
from pydantic import Field

from evoprune import Algorithm, Generation, Score
from operators.algorithm.breeding import breed, first_population, fittest


def steady_state(
    toolbox: base.Toolbox,
    *,
    population: int,
    mate_probability: float,
    mutate_probability: float,
    starts: Sequence[Sequence[float]],
    offspring: Annotated[int, Field(ge=1, description="children that are scored together")] = 2,
) -> Algorithm:
    """Children replace the worst as soon as they are scored (Whitley, "The GENITOR algorithm", ICGA 1989)."""
    people = first_population(toolbox, population, starts)
    yield Score(people)
    while True:
        yield Generation(people)
        children = breed(toolbox, people, offspring, mate_probability, mutate_probability)
        yield Score(children)
        people = fittest([*people, *children], population)
