"""Asynchronous steady-state search: no worker waits for another."""

from collections.abc import Sequence

from deap import base

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
    """A worker that is free gets a child at once, bred from the scores so far; each score replaces the worst.

    A generation is as many scores as the population has places (Alba and Troya, "Analyzing synchronous and asynchronous
    parallel distributed genetic algorithms", Future Generation Computer Systems 17, 2001).
    """
    people: list[Individual] = []
    begun, scored = first_population(toolbox, population, initial_genomes), 0
    while True:
        arrived = yield Evaluate(begun, wait=False)
        arrived = begun if arrived is None else arrived
        for individual in arrived:
            people = fittest([*people, individual], population)
            scored += 1
            if scored % population == 0:
                yield Generation(people)
        if arrived:
            begun = []  # to see whether a worker is free now
        elif len(people) >= 2:
            begun = breed(toolbox, people, 1, mate_probability, mutate_probability)
        else:
            begun = [toolbox.repair(toolbox.individual())[0]]
