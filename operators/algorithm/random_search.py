"""Random search, the baseline of all other algorithms."""

from deap import base

from evoprune import Algorithm, Evaluate, Generation
from evoprune.operators.algorithm.breeding import Genomes, first_population


def random_search(toolbox: base.Toolbox, *, population: int, initial_genomes: Genomes) -> Algorithm:
    """A new random population each generation, repaired; nothing is learnt."""
    while True:
        people = first_population(toolbox, population, initial_genomes)
        yield Evaluate(people)
        yield Generation(people)
        initial_genomes = ()
