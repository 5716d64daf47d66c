"""Asynchronous steady-state search: no worker waits for another."""

from collections.abc import Sequence

from deap import base, tools

from evoprune import Algorithm, Evaluate, Generation, Individual
from evoprune.operators.algorithm.breeding import breed, first_population, fittest


def asynchronous(
    toolbox: base.Toolbox,
    *,
    population: int,
    mate_probability: float,
    mutate_probability: float,
    initial_genomes: Sequence[Sequence[float]],
) -> Algorithm:
    """As ``steady_state``, but a worker that is free gets a child at once, bred from the scores so far.

    Of several objectives, places and parents are those of ``nsga2``, after each score.
    A generation is as many scores as the population has places (Alba and Troya, "Analyzing synchronous and asynchronous
    parallel distributed genetic algorithms", Future Generation Computer Systems 17, 2001).
    """
    people: list[Individual] = []
    begun, scored = first_population(toolbox, population, initial_genomes), 0
    several = len(begun[0].fitness.weights) > 1
    keep, select, least = (tools.selNSGA2, _by_dominance, 4) if several else (fittest, None, 2)
    while True:
        arrived = yield Evaluate(begun, wait=False)
        arrived = begun if arrived is None else arrived
        for individual in arrived:
            people = keep([*people, individual], population)
            scored += 1
            if scored % population == 0:
                yield Generation(people)
        if arrived:
            begun = []  # to see whether a worker is free now
        elif len(people) >= least:
            begun = breed(toolbox, people, 1, mate_probability, mutate_probability, select)
        else:
            begun = [toolbox.repair(toolbox.individual())[0]]


def _by_dominance(people: Sequence[Individual], count: int) -> list[Individual]:
    """Draw ``count`` of at least four ``people``, at most four, by tournaments of dominance and then of distance."""
    return tools.selTournamentDCD(people, 4)[:count]  # type: ignore[no-any-return]
