"""NSGA-II, for problems with several objectives."""

from collections.abc import Sequence

from deap import base, tools

from evoprune import Algorithm, Evaluate, Generation, InputError
from evoprune.operators.algorithm.breeding import breed, first_population


def nsga2(
    toolbox: base.Toolbox,
    *,
    population: int,
    mate_probability: float,
    mutate_probability: float,
    initial_genomes: Sequence[Sequence[float]],
) -> Algorithm:
    """Keep the non-dominated fronts, and of the last one the least crowded solutions (Deb et al., 2002).

    IEEE Transactions on Evolutionary Computation 6; DEAP's selections. Parents win tournaments by dominance and then by
    distance, in place of ``toolbox.select``. ``population``: a multiple of 4.
    """
    if population % 4:
        raise InputError(f"population: nsga2's tournaments take four at a time; expected a multiple of 4: {population}")
    people = first_population(toolbox, population, initial_genomes)
    yield Evaluate(people)
    people = tools.selNSGA2(people, population)  # sets the crowding distances that tournaments need
    while True:
        yield Generation(people)
        winners = iter(tools.selTournamentDCD(people, population))
        children = breed(
            toolbox, people, population, mate_probability, mutate_probability,
            lambda _, count: [next(winners) for _ in range(count)],  # noqa: B023 - called at once
        )  # fmt: skip
        yield Evaluate(children)
        people = tools.selNSGA2([*people, *children], population)
