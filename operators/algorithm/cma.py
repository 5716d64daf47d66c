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
from evoprune.operators.quadratic import MAX_COLUMNS, MAX_POINTS, Quadratic
from evoprune.operators.separable import Separable

_TOLERANCE = 1e-9  # relative range of the last generations' best values at which a descent ends; least step size
_MIN_RADIUS = 0.3  # trust radius of the model, as a share of the step size
_STEP_SHARE = 0.1  # step size after a successful model step, as a share of its length: the next genomes are near
_DOUBLINGS = 7  # of the population, at most: a small space without new genomes would fill the memory
_MAX_CONDITION = 1e14  # of the covariance matrix, and of the step size; beyond it, doubles are too coarse


class _Scaled(list[float]):
    """``individual`` in units of ``spans``, with its fitness; inactive genes have their ``drawn`` values."""

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
    noisy: bool = False,
    sigma: Annotated[
        float, Field(ge=1e-9, le=1e9, description="first standard deviation, as a share of a gene's range")
    ] = 0.2,
) -> Algorithm:
    """CMA-ES (Hansen and Ostermeier, Evolutionary Computation 9, 2001), DEAP's implementation.

    The mean starts at the best initial genome, or in the middle of all ranges; updates use repaired genomes. A gene
    with levels starts with a standard deviation of at least half a level. After each generation, minima of a quadratic
    model are scored, as long as one improves the best: it becomes the mean, and its distance sets the step size. There
    is no model where constraints are violated, or with noise, where the mean is recommended. After convergence, the
    search restarts at a random genome with twice the population (Auger and Hansen, "A restart CMA evolution strategy
    with increasing population size", CEC 2005), without a model, which would lead to the nearest of many minima.
    More than 1,000 genes have neither covariances nor a model, which would take quadratic memory.
    """
    middle = genes.nearest([(gene.low + gene.up) / 2 for gene in genes])
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes or [middle])
    if initial_genomes:
        yield Evaluate(people)
    centre = fittest(people, 1)[0] if initial_genomes else people[0]
    weights = centre.fitness.weights
    spans = numpy.array([max(gene.span, 0.5 / sigma) if gene.levels else gene.span for gene in genes])
    kind = Strategy if len(genes) <= MAX_COLUMNS else Separable
    for descent in count():
        strategy = kind(numpy.divide(centre, spans), sigma, lambda_=population << min(descent, _DOUBLINGS))
        archive = deque((one for one in people if one.fitness.valid and not descent), MAX_POINTS)
        best, radius = fittest([*archive], 1), sigma
        values = deque[float](maxlen=10 + math.ceil(30 * len(genes) / strategy.lambda_))
        while not _converged(strategy, values):
            drawn = strategy.generate(lambda scaled: Individual(map(float, scaled * spans), weights))
            _switch_level(random.choice(drawn), genes)
            people = [repaired(toolbox, individual.child()) for individual in drawn]
            yield Evaluate(people)
            mean = [repaired(toolbox, Individual(map(float, strategy.centroid * spans), weights))] if noisy else []
            yield Generation(people, mean)
            with numpy.errstate(over="ignore"):  # a repair may move a narrow distribution far; that ends the descent
                strategy.update([_Scaled(*pair, genes, spans) for pair in zip(people, drawn, strict=True)])
            archive += people
            best = fittest([*best, *people], 1)
            for _ in range(0 if noisy or descent else strategy.lambda_):
                if not (steps := _steps(toolbox, genes, archive, best[0], radius * spans)):
                    break
                yield Evaluate(steps)
                yield Generation(steps)
                archive += steps
                before, (leader,) = best[0].fitness.wvalues[0], fittest(steps, 1)
                if leader.fitness.wvalues[0] - before <= _TOLERANCE * abs(before):
                    radius = max(radius / 4, _MIN_RADIUS * strategy.sigma)
                    break
                radius, best = 2 * max(abs(numpy.subtract(leader, best[0])) / spans), [leader]
                strategy.sigma = max(_STEP_SHARE * radius, _TOLERANCE)
                strategy.centroid = numpy.array(_Scaled(leader, strategy.centroid * spans, genes, spans))
            values.append(best[0].fitness.wvalues[0])
        centre = first_population(toolbox, 1, ())[0]


def _steps(
    toolbox: base.Toolbox, genes: Genes, archive: Collection[Individual], best: Individual, radius: Floats
) -> list[Individual]:
    """Return new minima of a model of the ``archive`` within half and twice the ``radius`` around the ``best``."""
    if (model := Quadratic.fit(genes, archive)) is None:
        return []
    steps = [repaired(toolbox, best.child(model.minimise(best, factor * radius))) for factor in (0.5, 2.0)]
    scored = {individual.genome for individual in archive}
    return [*{step.genome: step for step in steps if step.genome not in scored}.values()]


def _switch_level(individual: Individual, genes: Genes) -> None:
    """Change one gene with levels, as the distribution may be too narrow for another level.

    The margin of Hamano and others, "CMA-ES with margin", GECCO 2022, serves the same purpose.
    """
    if places := [place for place in genes.with_levels if genes[place].free]:
        place = random.choice(places)
        old = genes[place].nearest(individual[place])
        individual[place] = another_level(genes[place], old, old + random.choice((-1.0, 1.0)))


def _converged(strategy: Strategy, values: deque[float]) -> bool:
    """Return whether the best ``values`` of the last generations agree, or the covariance is ill-conditioned."""
    full = len(values) == values.maxlen
    return max(strategy.cond**2, strategy.sigma) > _MAX_CONDITION or (
        full and max(values) - min(values) <= _TOLERANCE * abs(values[-1])
    )
