"""Covariance matrix adaptation, on genomes repaired to the budget."""

from typing import Annotated

import numpy
from deap import base
from deap.cma import Strategy
from pydantic import Field

from evoprune import Algorithm, Evaluate, Generation, Genes, Individual
from evoprune.operators.algorithm.breeding import Genomes, first_population, fittest


def cma(
    toolbox: base.Toolbox,
    *,
    population: int,
    initial_genomes: Genomes,
    genes: Genes,
    sigma: Annotated[
        float, Field(ge=1e-9, le=1e9, description="first standard deviation of a real gene, or share of the levels")
    ] = 0.05,
) -> Algorithm:
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
