"""Covariance matrix adaptation with restarts, on genomes repaired to the budget."""

import math
import random
from collections import deque
from collections.abc import Collection, Sequence
from itertools import count
from typing import Annotated

import numpy
from deap import base
from deap.cma import Strategy
from pydantic import Field

from evoprune import Algorithm, Evaluate, Generation, Genes, Individual
from evoprune.operators.algorithm.breeding import Genomes, first_population, fittest, repaired
from evoprune.operators.knapsack import Floats
from evoprune.operators.moves import another_level
from evoprune.operators.quadratic import NEWEST, Quadratic

_STILL = 1e-9  # of the best value: a smaller range of the values in the last generations ends a descent; least step
_SMALLEST = 0.3  # radius around the best in which a model is trusted, as a share of the distribution's step size
_NEAR = 0.1  # step size after a model was right, as a share of that radius, so that the next model is of near genomes
_CONDITION = 1e14  # of the covariance matrix, and step size; beyond it, numbers are too coarse


class _Scaled(list[float]):
    """``individual`` in units of ``spans``, with its fitness; inactive genes as they were ``drawn``, not all alike."""

    def __init__(self, individual: Individual, drawn: Sequence[float], genes: Genes, spans: Floats) -> None:
        inactive = genes.inactive(individual)
        values = [drawn[place] if place in inactive else value for place, value in enumerate(individual)]
        super().__init__(numpy.divide(values, spans))
        self.fitness = individual.fitness


def cma(
    toolbox: base.Toolbox,
    *,
    population: int,
    initial_genomes: Genomes,
    genes: Genes,
    sigma: Annotated[
        float, Field(ge=1e-9, le=1e9, description="first standard deviation, as a share of a gene's range")
    ] = 0.2,
) -> Algorithm:
    """CMA-ES (Hansen and Ostermeier, Evolutionary Computation 9, 2001), DEAP's implementation.

    It starts at the best known genome, or in the middle of all ranges, and learns from repaired genomes. A gene with
    levels varies by half a level at least, at first. After each generation, the least genomes of a quadratic model are
    scored as long as one is the best so far: it becomes the mean, and its distance decides the step size. There is no
    model where constraints are violated. Where it has converged, it starts again at a random genome with twice the
    population (Auger and Hansen, "A restart CMA evolution strategy with increasing population size", CEC 2005).
    """
    middle = genes.nearest([(gene.low + gene.up) / 2 for gene in genes])
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes or [middle])
    if initial_genomes:
        yield Evaluate(people)
    centre = fittest(people, 1)[0] if initial_genomes else people[0]
    weights = centre.fitness.weights
    spans = numpy.array([max(gene.span, 0.5 / sigma) if gene.levels else gene.span for gene in genes])
    for descent in count():
        strategy = Strategy(numpy.divide(centre, spans), sigma, lambda_=population << descent)
        known = deque((one for one in people if one.fitness.valid and not descent), NEWEST)
        best, radius = fittest([*known], 1), sigma
        values = deque[float](maxlen=10 + math.ceil(30 * len(genes) / strategy.lambda_))
        while not _converged(strategy, values):
            drawn = strategy.generate(lambda scaled: Individual(map(float, scaled * spans), weights))
            _switch_level(random.choice(drawn), genes)
            people = [repaired(toolbox, individual.child()) for individual in drawn]
            yield Evaluate(people)
            yield Generation(people)
            with numpy.errstate(over="ignore"):  # a repair may move a narrow distribution far; that ends the descent
                strategy.update([_Scaled(*pair, genes, spans) for pair in zip(people, drawn, strict=True)])
            known += people
            best = fittest([*best, *people], 1)
            for _ in range(strategy.lambda_):
                if not (steps := _steps(toolbox, genes, known, best[0], radius * spans)):
                    break
                yield Evaluate(steps)
                yield Generation(steps)
                known += steps
                before, (leader,) = best[0].fitness.wvalues[0], fittest(steps, 1)
                if leader.fitness.wvalues[0] - before <= _STILL * abs(before):
                    radius = max(radius / 4, _SMALLEST * strategy.sigma)
                    break
                radius, best = 2 * max(abs(numpy.subtract(leader, best[0])) / spans), [leader]
                strategy.sigma = max(_NEAR * radius, _STILL)
                strategy.centroid = numpy.array(_Scaled(leader, strategy.centroid * spans, genes, spans))
            values.append(best[0].fitness.wvalues[0])
        centre = first_population(toolbox, 1, ())[0]


def _steps(
    toolbox: base.Toolbox, genes: Genes, known: Collection[Individual], best: Individual, radius: Floats
) -> list[Individual]:
    """The least new genomes of a model of the ``known``, within half and twice the ``radius`` of the ``best``."""
    if (model := Quadratic.of(genes, known)) is None:
        return []
    steps = [repaired(toolbox, best.child(model.least(best, factor * radius))) for factor in (0.5, 2.0)]
    scored = {individual.genome for individual in known}
    return [*{step.genome: step for step in steps if step.genome not in scored}.values()]


def _switch_level(individual: Individual, genes: Genes) -> None:
    """Change one gene with levels, as the distribution may have become too narrow for another level.

    As the margin of Hamano and others, "CMA-ES with margin", GECCO 2022, keeps other levels possible.
    """
    if places := [place for place in genes.with_levels if genes[place].free]:
        place = random.choice(places)
        old = genes[place].nearest(individual[place])
        individual[place] = another_level(genes[place], old, old + random.choice((-1.0, 1.0)))


def _converged(strategy: Strategy, values: deque[float]) -> bool:
    """Return whether the best ``values`` after generations are alike, or the distribution is too narrow or too long."""
    full = len(values) == values.maxlen
    return max(strategy.cond**2, strategy.sigma) > _CONDITION or (
        full and max(values) - min(values) <= _STILL * abs(values[-1])
    )
