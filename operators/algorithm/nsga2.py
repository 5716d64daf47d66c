"""NSGA-II, for problems with several objectives."""

from collections import deque
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Annotated

import numpy
from deap import base, tools
from pydantic import Field

from evoprune import Algorithm, Evaluate, Generation, Genes, Individual, InputError, Space
from evoprune.operators.algorithm.breeding import Count, Genomes, breed, first_population
from evoprune.operators.quadratic import MAX_POINTS, Quadratic


def nsga2(
    toolbox: base.Toolbox,
    *,
    population: int,
    mate_probability: float,
    mutate_probability: float,
    initial_genomes: Genomes,
    space: Space,
    pool: Annotated[Count, Field(description="children bred for each that is scored on all data")] = 1,
) -> Algorithm:
    """Keep the non-dominated fronts, and of the last one the least crowded solutions (Deb et al., 2002).

    IEEE Transactions on Evolutionary Computation 6; DEAP's selections. Parents win tournaments by dominance and then by
    distance, in place of ``toolbox.select``. ``population``: a multiple of 4.
    """
    if population % 4:
        raise InputError(f"population: nsga2's tournaments take four at a time; expected a multiple of 4: {population}")
    genes = space if isinstance(space, Genes) else None
    if pool > 1 and not genes:
        raise InputError(f"operators.algorithm.pool: predicts scores of genes; expected 1 for {space.describe()}")
    people = first_population(toolbox, population, initial_genomes)
    yield Evaluate(people)
    archive = deque(people, MAX_POINTS)
    people = tools.selNSGA2(people, population)  # sets the crowding distances that tournaments need
    while True:
        yield Generation(people)
        winners = chain.from_iterable(tools.selTournamentDCD(people, population) for _ in range(pool))
        children = breed(
            toolbox, people, pool * population, mate_probability, mutate_probability,
            lambda _, count: [next(winners) for _ in range(count)],  # noqa: B023 - called at once
        )  # fmt: skip
        if pool > 1 and genes:
            _predict(genes, archive, children)
            children = tools.selNSGA2(children, population)
        yield Evaluate(children)
        archive += children
        people = tools.selNSGA2([*people, *children], population)


def _predict(genes: Genes, archive: Collection[Individual], children: Sequence[Individual]) -> None:
    """Set the scores of ``children`` by a model for each objective; to the same where the ``archive`` allow none."""
    objectives = range(len(children[0].fitness.weights))
    models = [Quadratic.fit(genes, archive, objective, evenly=True) for objective in objectives]
    values = [model(numpy.array(children)) if model else numpy.zeros(len(children)) for model in models]
    for child, predicted in zip(children, numpy.transpose(values).tolist(), strict=True):
        child.fitness.wvalues = tuple(-value for value in predicted)
