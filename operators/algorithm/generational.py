"""The generational loop with elitism."""

from deap import base

from evoprune import Algorithm, Evaluate, Generation
from evoprune.operators.algorithm.breeding import Genomes, breed, first_population


def generational(
    toolbox: base.Toolbox,
    *,
    population: int,
    mate_probability: float,
    mutate_probability: float,
    initial_genomes: Genomes,
    noisy: bool = False,
) -> Algorithm:
    """The loop of the ESILV report (2025): an elite survives unchanged, and children replace the others.

    ::

        people = random individuals, repaired; score them
        for each generation:
            elite    = survive(people)                 # scored again only where there is noise
            children = until elite + children fill the population:
                           two parents <- select(people)
                           mate, mutate, repair
            score the children
            people = elite + children
    """
    people = first_population(toolbox, population, initial_genomes)
    yield Evaluate(people)
    while True:
        yield Generation(people)
        elite = toolbox.survive(people)
        children = breed(toolbox, people, population - len(elite), mate_probability, mutate_probability)
        yield Evaluate([*elite, *children] if noisy else children)
        people = [*elite, *children]
