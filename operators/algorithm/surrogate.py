"""(mu + lambda) search whose children are screened by a regression on all scores."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import numpy
from deap import base
from numpy.typing import NDArray
from pydantic import Field

from evoprune import Algorithm, Evaluate, Generation
from evoprune.operators.algorithm.breeding import cost, first_population, fittest, losses, mutant

_LEAST_KNOWN = 8  # scores that the regression needs; mutants until then are taken blindly

Floats = NDArray[numpy.float64]


def surrogate(
    toolbox: base.Toolbox,
    *,
    initial_genomes: Sequence[Sequence[float]],
    parents: Annotated[int, Field(ge=1, description="mu: individuals that live on")] = 1,
    pool: Annotated[int, Field(ge=1, description="mutants for each child; the most promising becomes it")] = 16,
    offspring: Annotated[int, Field(ge=1, description="lambda: children in a generation")] = 16,
    survivors: Annotated[int, Field(ge=1, description="children left after the screening, scored on all data")] = 2,
    screening: Annotated[
        float, Field(gt=0, le=1, description="share of the data that children are screened on")
    ] = 0.125,
    ridge: Annotated[
        float, Field(ge=1e-9, le=1e9, description="penalty on the regression's coefficients, in observations")
    ] = 0.1,
) -> Algorithm:
    """Like ``level_switching``, but each child is the best of several mutants by a regression's prediction.

    Pre-selection: Jin, "A comprehensive survey of fitness approximation in evolutionary computation", Soft Computing 9,
    2005. The regression learns from all scores; of several objectives, from the first.
    """
    people = first_population(toolbox, max(parents, len(initial_genomes)), initial_genomes)
    yield Evaluate(people)
    known = [_Known(list(individual), cost(individual), 0.0) for individual in people]
    people = fittest(people, parents)
    while True:
        yield Generation(people)
        predict = _regression(known, people[0], ridge)
        children = [
            min((mutant(toolbox, random.choice(people)) for _ in range(pool)), key=predict) for _ in range(offspring)
        ]
        if screening < 1 and survivors < offspring:
            yield Evaluate(children, screening)
            known += [_Known(list(child), cost(child), 1.0) for child in children]
            children = fittest(children, survivors)
        yield Evaluate(children)
        known += [_Known(list(child), cost(child), 0.0) for child in children]
        people = fittest([*people, *children], parents)


class _Known(NamedTuple):
    genome: list[float]
    cost: float
    partly: float  # 1 if scored on a part of the data, which may be an easier or a harder part, else 0


def _regression(known: Sequence[_Known], centre: Sequence[float], ridge: float) -> Callable[[Sequence[float]], float]:
    """Return a function that predicts a genome's loss above that of ``centre``.

    Ridge regression (Hoerl and Kennard, Technometrics 12, 1970) on the differences of genes from ``centre`` and on
    their squares, weighted by closeness to the best loss.
    """
    sound = [score for score in known if math.isfinite(score.cost)]
    middle = numpy.array(centre)

    def features(genome: Sequence[float]) -> Floats:
        difference = numpy.array(genome) - middle
        return numpy.concatenate([difference, difference**2])

    if len(sound) < _LEAST_KNOWN:
        return lambda _: 0.0
    loss = numpy.array(losses([score.cost for score in sound]))
    partly = numpy.array([score.partly for score in sound])
    for part in {*partly}:
        loss[partly == part] -= loss[partly == part].min()
    table = numpy.stack([numpy.append(features(score.genome), score.partly) for score in sound])
    weights = numpy.exp(-loss / max(float(numpy.median(loss)), 1e-12))
    scales = numpy.sqrt((weights @ table**2) / weights.sum()) + 1e-12
    scaled = table / scales
    normal = scaled.T @ (weights[:, None] * scaled) + ridge * numpy.eye(scaled.shape[1])
    coefficients = numpy.linalg.solve(normal, scaled.T @ (weights * loss)) / scales
    return lambda genome: float(features(genome) @ coefficients[:-1])
