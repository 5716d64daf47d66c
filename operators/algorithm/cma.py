"""Covariance matrix adaptation, on genomes repaired to the budget."""

from typing import Annotated

import numpy
from deap import base
from deap.cma import Strategy
from pydantic import Field

from evoprune import Algorithm, Evaluate, Generation, Genes, Individual
from evoprune.operators.algorithm.breeding import Genomes, first_population, fittest


class _Scaled(list[float]):
    """``individual`` in units of ``spans``, with its fitness."""

    def __init__(self, individual: Individual, spans: numpy.ndarray) -> None:
        super().__init__(numpy.divide(individual, spans))
        self.fitness = individual.fitness


def cma(
    toolbox: base.Toolbox,
    *,
    population: int,
    initial_genomes: Genomes,
    genes: Genes,
    sigma: Annotated[
        float, Field(ge=1e-9, le=1e9, description="first standard deviation, as a share of a gene's range")
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
    spans = numpy.array([max(gene.span, 0.5 / sigma) if gene.levels else gene.span for gene in genes])
    strategy = Strategy(numpy.divide(centre, spans), sigma, lambda_=population)
    while True:
        drawn = strategy.generate(lambda scaled: Individual(map(float, scaled * spans), template.fitness.weights))
        people = [toolbox.repair(individual)[0] for individual in drawn]
        yield Evaluate(people)
        yield Generation(people)
        strategy.update([_Scaled(individual, spans) for individual in people])
