"""Steady-state search: a few children at a time replace the worst."""

from collections.abc import Sequence
from typing import Annotated

from deap import base
from pydantic import Field

from evoprune import Algorithm, Evaluate, Generation
from evoprune.operators.algorithm.breeding import breed, first_population, fittest


def steady_state(
    toolbox: base.Toolbox,
    *,
    population: int,
    mate_probability: float,
    mutate_probability: float,
    initial_genomes: Sequence[Sequence[float]],
    offspring: Annotated[int, Field(ge=1, description="children that are scored together")] = 2,
) -> Algorithm:
    """Children replace the worst as soon as they are scored (Whitley, "The GENITOR algorithm", ICGA 1989)."""
    people = first_population(toolbox, population, initial_genomes)
    yield Evaluate(people)
    while True:
        yield Generation(people)
        children = breed(toolbox, people, offspring, mate_probability, mutate_probability)
        yield Evaluate(children)
        people = fittest([*people, *children], population)
