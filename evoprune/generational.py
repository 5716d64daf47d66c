"""The generational loop with elitism, as in the ESILV report (2025).

::

    population = random individuals, repaired; score them
    for each generation:
        elite    = survive(population)                 # passes on unchanged, never scored again
        children = until elite + children fill the population:
                       two parents <- select(population)
                       mate, mutate, repair
        score the children
        population = elite + children
"""

from __future__ import annotations

import random
from collections.abc import Callable

from deap import base

from evoprune.individual import Individual
from evoprune.scoring import Scorer
from evoprune.spec import Experiment

Population = list[Individual]


def generational(
    toolbox: base.Toolbox,
    experiment: Experiment,
    scorer: Scorer,
    starting_genomes: list[list[float]],
    after_generation: Callable[[int, Population], None],
) -> Individual:
    """Run the loop above and return the best individual.

    ``after_generation(number, population)`` is called after each generation, the first,
    random one being number 0. All random draws are made here, in the calling process.
    """
    population = _first_population(toolbox, experiment.population, starting_genomes)
    scorer.score(population, 0)
    best = _best(population)
    after_generation(0, population)
    for generation in range(1, experiment.generations + 1):
        elite = toolbox.survive(population)
        children = _breed(toolbox, experiment, population, experiment.population - len(elite))
        scorer.score(children, generation)
        population = [*elite, *children]
        best = _best([best, *population])
        after_generation(generation, population)
    return best


def _first_population(toolbox: base.Toolbox, size: int, starting_genomes: list[list[float]]) -> Population:
    population = [toolbox.individual() for _ in range(size)]
    for individual, genome in zip(population, starting_genomes, strict=False):
        individual[:] = genome
    return [toolbox.repair(individual)[0] for individual in population]


def _breed(toolbox: base.Toolbox, experiment: Experiment, population: Population, count: int) -> Population:
    """``count`` repaired children. Both children of a pair are used while there is room."""
    children: Population = []
    while len(children) < count:
        parents = toolbox.select(population, 2)
        idents = tuple(sorted({parent.ident for parent in parents}))
        pair = [parent.child() for parent in parents]
        if random.random() < experiment.mate_probability:
            pair = list(toolbox.mate(*pair))
        for child in pair[: count - len(children)]:
            if random.random() < experiment.mutate_probability:
                (child,) = toolbox.mutate(child)
            (child,) = toolbox.repair(child)
            child.parents = idents
            children.append(child)
    return children


def _best(individuals: Population) -> Individual:
    return max(individuals, key=lambda individual: individual.fitness)
