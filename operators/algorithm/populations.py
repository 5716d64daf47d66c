"""Algorithms that breed populations, and random search, their baseline."""

import random
from itertools import chain
from typing import Annotated

import numpy
from deap import base, tools
from deap.cma import Strategy
from pydantic import Field

from evoprune import Algorithm, Evaluate, Generation, Genes, Individual, InputError
from evoprune.operators.algorithm.breeding import Count, Genomes, Share, breed, first_population, fittest, mutant


def generational(
    toolbox: base.Toolbox,
    *,
    population: int,
    mate_probability: float,
    mutate_probability: float,
    initial_genomes: Genomes,
) -> Algorithm:
    """The loop of the ESILV report (2025): an elite passes on unchanged, children fill the places left.

    ::

        people = random individuals, repaired; score them
        for each generation:
            elite    = survive(people)                 # never scored again
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
        yield Evaluate(children)
        people = [*elite, *children]


def random_search(toolbox: base.Toolbox, *, population: int, initial_genomes: Genomes) -> Algorithm:
    """A new random population each generation, repaired; nothing is learnt."""
    while True:
        people = first_population(toolbox, population, initial_genomes)
        yield Evaluate(people)
        yield Generation(people)
        initial_genomes = ()


def level_switching(
    toolbox: base.Toolbox, *, initial_genomes: Genomes,
    parents: Annotated[Count, Field(description="mu: individuals that live on")] = 1,
    offspring: Annotated[Count, Field(description="lambda: children in a generation")] = 16,
    survivors: Annotated[Count, Field(description="children left after the screening, scored on all data")] = 2,
    screening: Annotated[Share, Field(description="share of the data that children are screened on")] = 0.125,
) -> Algorithm:  # fmt: skip
    """Mutate the best, screen the children on a part of the data, score the survivors on all.

    EvoPress (Sieberling et al., ICML 2025, algorithm 1) with one stage of screening, when the mutation is ``exchange``.
    """
    screens = screening < 1 and survivors < offspring
    people = first_population(toolbox, max(parents, len(initial_genomes)), initial_genomes)
    yield Evaluate(people)
    people = fittest(people, parents)
    while True:
        yield Generation(people)
        children = [mutant(toolbox, random.choice(people)) for _ in range(offspring)]
        yield Evaluate(children, screening if screens else 1.0)
        if screens:
            children = fittest(children, survivors)
            yield Evaluate(children)
        people = fittest([*people, *children], parents)


Width = Annotated[float, Field(ge=1e-9, le=1e9)]


def cma(
    toolbox: base.Toolbox, *, population: int, initial_genomes: Genomes, genes: Genes,
    sigma: Annotated[Width, Field(description="first standard deviation; of levels, a share of them")] = 0.05,
) -> Algorithm:  # fmt: skip
    """CMA-ES (Hansen and Ostermeier, Evolutionary Computation 9, 2001), DEAP's implementation.

    It starts at the best known genome, or at a random one, and learns from repaired genomes. A gene with levels varies
    by half a level at least.
    """
    template: Individual = toolbox.individual()
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    if initial_genomes:
        yield Evaluate(people)
    centre = fittest(people, 1)[0] if initial_genomes else people[0]
    units = [max(gene.up - gene.low, 0.5 / sigma) if gene.levels else 1.0 for gene in genes]
    strategy = Strategy(list(centre), sigma, lambda_=population, cmatrix=numpy.diag(numpy.square(units)))
    while True:
        drawn = strategy.generate(lambda genes: Individual(map(float, genes), template.fitness.weights))
        people = [toolbox.repair(individual)[0] for individual in drawn]
        yield Evaluate(people)
        yield Generation(people)
        strategy.update(people)


def nsga2(
    toolbox: base.Toolbox, *, population: int, mate_probability: float, mutate_probability: float,
    initial_genomes: Genomes,
    pool: Annotated[Count, Field(description="children bred for each that is scored on all data")] = 1,
    screening: Annotated[Share, Field(description="share of the data by which a larger pool is screened")] = 0.125,
) -> Algorithm:  # fmt: skip
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
        winners = chain.from_iterable(tools.selTournamentDCD(people, population) for _ in range(pool))
        children = breed(
            toolbox, people, pool * population, mate_probability, mutate_probability,
            lambda _, count: [next(winners) for _ in range(count)],  # noqa: B023 - called at once
        )  # fmt: skip
        if pool > 1:
            yield Evaluate(children, screening)
            children = tools.selNSGA2(children, population)
        yield Evaluate(children)
        people = tools.selNSGA2([*people, *children], population)
