"""Random search, the baseline of all other algorithms."""

from collections.abc import Sequence

from deap import base

from evoprune import Algorithm, Evaluate, Generation
from evoprune.operators.algorithm.breeding import first_population


def random_search(toolbox: base.Toolbox, *, population: int, initial_genomes: Sequence[Sequence[float]]) -> Algorithm:
    """A new random population each generation, repaired; nothing is learnt."""
    while True:
        people = first_population(toolbox, population, initial_genomes)
        yield Evaluate(people)
        yield Generation(people)
        initial_genomes = ()
