"""Drives an algorithm, generation by generation."""

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from deap import base

from evoprune.errors import Stopped
from evoprune.experiment.spec import Experiment
from evoprune.files.json_files import finite
from evoprune.interfaces.algorithm import Evaluate, Individual
from evoprune.search.early_stopping import EarlyStopping
from evoprune.search.evaluator import Evaluator

_IDLE_GENERATIONS = 100
"""With a budget, a search ends after as many generations in a row that scored nothing new: it may never spend it."""


def evolve(
    tools: base.Toolbox,
    experiment: Experiment,
    evaluator: Evaluator,
    stopping: EarlyStopping,
    budget: float | None,
    after_generation: Callable[[int, Sequence[Individual]], None],
) -> tuple[Individual, int]:
    """Run the algorithm to its last generation, or until ``budget`` (of work) or patience is spent.

    Return the best individual (on held-out data, where the experiment has ``patience``) and the last generation.
    """
    last, idle, before = -1, 0, evaluator.work
    for step in tools.algorithm(tools):
        if isinstance(step, Evaluate):
            evaluator.evaluate(step, last + 1)
            continue
        last += 1
        after_generation(last, step.population)
        idle, before = 0 if evaluator.work > before else idle + 1, evaluator.work
        spent = evaluator.work >= (budget or math.inf) or stopping.should_stop
        if spent or last == experiment.generations or (budget and idle == _IDLE_GENERATIONS):
            break
    if evaluator.best is None:
        raise Stopped("the algorithm ended without a candidate that was scored on all the data")
    return stopping.best or evaluator.best, last


def generation_line(number: int, population: Sequence[Individual], evaluator: Evaluator) -> dict[str, Any]:
    """The best so far and the spread of the first objective over ``population``; null where a value is infinite."""
    worst = min(population, key=lambda individual: individual.fitness)
    values = sorted(individual.fitness.values[0] for individual in population)
    return {
        "generation": number,
        "best": finite(evaluator.best.fitness.values[0]) if evaluator.best else None,
        "median": finite(median(values)),
        "quartiles": [finite(_quantile(values, share)) for share in (0.25, 0.75)],
        "worst": finite(worst.fitness.values[0]),
        "evaluations": evaluator.evaluations,
        "work": evaluator.work,
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two values next to ``share`` of the way; infinite ones, unlike in libraries, spoil no others."""
    place = share * (len(ordered) - 1)
    below, rest = ordered[int(place)], place - int(place)
    return below * (1 - rest) + ordered[int(place) + 1] * rest if rest else below
