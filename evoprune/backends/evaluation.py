"""Scoring a genome: the task that workers run, and what a worker is."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from pydantic import ValidationError

from evoprune.errors import InputError
from evoprune.experiment import registry
from evoprune.experiment.explain import explain
from evoprune.problem import Evaluation, Problem, worst

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class ProblemRef:
    """All that a worker needs to build the problem: small, hashable, and picklable anywhere."""

    use: str
    settings: str
    """The settings as JSON."""
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a process evaluates: ``device`` takes the place of a problem's ``device: auto``."""

    device: str | None = None
    threads: int | None = None


_place, _worker = Place(), ""


def settle(place: Place, worker: str = "") -> None:
    """Make this process evaluate at ``place``, and sign its scores as ``worker``.

    To be called before a problem is built: libraries read the number of threads once, when
    they are imported.
    """
    global _place, _worker
    _place, _worker = place, worker
    if place.threads:
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(place.threads)))


def worker_name() -> str:
    """Host and process: what a worker signs with."""
    return f"{platform.node()}:{os.getpid()}"


def load(ref: ProblemRef) -> Problem:
    """The problem, built once in each process."""
    return _build(ref, _place.device)


@lru_cache(maxsize=1)
def _build(ref: ProblemRef, device: str | None) -> Problem:
    _build.cache_clear()  # a device may have no room for the problem before and this one
    for module in ref.plugins:
        registry.plugin(module)
    problem = registry.problem(ref.use, ref.plugins)
    given = json.loads(ref.settings)
    if device and given.get("device") == "auto":
        given["device"] = device
    try:
        settings = problem.Settings.model_validate(given)
    except ValidationError as error:
        raise InputError(explain(error, problem.Settings), "--devices") from None
    return problem(settings)


def evaluate(ref: ProblemRef, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
    """Score ``genome`` on a share ``fidelity`` of the data; never raises for a candidate's own fault.

    An exception or a value that is not a finite number becomes the worst possible fitness
    with its reason in ``failure``. So does a problem that cannot be built in this process,
    but without values: how many there should be is not known then.
    """
    try:
        problem = load(ref)
    except Exception as error:
        return Evaluation((), failure=f"the problem cannot be built: {type(error).__name__}: {error}", worker=_worker)
    start = time.perf_counter()
    try:
        evaluation = problem.evaluate(genome) if fidelity == 1 else problem.evaluate_partly(genome, fidelity)
        values = tuple(map(float, evaluation.values))
        if len(values) != len(problem.weights):
            raise ValueError(f"{len(values)} fitness values for {len(problem.weights)} objectives")
        if not evaluation.work >= 0:
            raise ValueError(f"work is {evaluation.work}: expected at least 0")
        json.dumps([evaluation.measures, evaluation.work], allow_nan=False)  # the history must hold them
        failure = evaluation.failure
        if failure is None and not all(map(math.isfinite, values)):
            failure = "fitness is not a finite number"
        evaluation = replace(evaluation, values=worst(problem.weights) if failure else values, failure=failure)
    except Exception as error:
        evaluation = Evaluation(worst(problem.weights), failure=f"{type(error).__name__}: {error}")
    return replace(evaluation, seconds=time.perf_counter() - start, worker=_worker)
