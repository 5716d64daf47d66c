"""Scoring genomes: the task that workers run, and the memo that saves work."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from evoprune import registry
from evoprune.problem import Evaluation, Problem


@dataclass(frozen=True)
class ProblemRef:
    """All that a worker needs to build the problem: small, hashable, and picklable anywhere."""

    use: str
    settings: str
    """The settings as JSON."""
    plugins: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def load(ref: ProblemRef) -> Problem:
    """Build the problem, once in each process."""
    for module in ref.plugins:
        registry.plugin(module)
    problem = registry.problem(ref.use, ref.plugins)
    return problem(problem.Settings.model_validate(json.loads(ref.settings)))


def evaluate(ref: ProblemRef, genome: Sequence[float]) -> Evaluation:
    """Score ``genome``; never raises for a candidate's own fault.

    An exception or a value that is not a finite number becomes the worst possible fitness
    with its reason in ``failure``.
    """
    problem = load(ref)
    start = time.perf_counter()
    try:
        evaluation = problem.evaluate(genome)
        values = tuple(map(float, evaluation.values))
        if len(values) != len(problem.weights):
            raise ValueError(f"{len(values)} fitness values for {len(problem.weights)} objectives")
        failure = evaluation.failure
        if failure is None and not all(map(math.isfinite, values)):
            failure = "fitness is not a finite number"
        evaluation = replace(evaluation, values=worst(problem.weights) if failure else values, failure=failure)
    except Exception as error:
        evaluation = Evaluation(worst(problem.weights), failure=f"{type(error).__name__}: {error}")
    return replace(evaluation, seconds=time.perf_counter() - start)


def worst(weights: Sequence[float]) -> tuple[float, ...]:
    """The worst value of each objective."""
    return tuple(math.inf if weight < 0 else -math.inf for weight in weights)
