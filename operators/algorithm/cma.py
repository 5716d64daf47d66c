"""Covariance matrix adaptation, on genomes repaired to the budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from deap import base
from deap.cma import Strategy
from pydantic import Field

from evoprune import Algorithm, Evaluate, Generation, Individual, Positive
from operators.algorithm.breeding import first_population, fittest


def cma(
    toolbox: base.Toolbox,
    *,
    population: int,
    initial_genomes: Sequence[Sequence[float]],
    sigma: Annotated[Positive, Field(description="first standard deviation of a gene, in its own unit")] = 0.05,
) -> Algorithm:
    """CMA-ES (Hansen and Ostermeier, Evolutionary Computation 9, 2001), DEAP's implementation.

    It starts at the best of the known genomes, or at a random one. What it learns from are the
    repaired genomes, which are those that were scored.
    """
    template: Individual = toolbox.individual()
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    if initial_genomes:
        yield Evaluate(people)
    centre = fittest(people, 1)[0] if initial_genomes else people[0]
    strategy = Strategy(list(centre), sigma, lambda_=population)
    while True:
        drawn = strategy.generate(lambda genes: Individual(map(float, genes), template.fitness.weights))
        people = [toolbox.repair(individual)[0] for individual in drawn]
        yield Evaluate(people)
        yield Generation(people)
        strategy.update(people)
