"""Scoring a genome: the task that workers run, and what a process that evaluates keeps between tasks."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from pydantic import ValidationError

from evoprune.errors import InputError
from evoprune.experiment import registry
from evoprune.experiment.explain import explain
from evoprune.interfaces.parts import Finals, Measured
from evoprune.interfaces.problem import Evaluation, Problem, worst

AUTO = "auto"
"""What the setting ``device`` of a problem says where each worker has one of its own."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class ProblemRef:
    """All that a worker needs to build the problem: small, hashable, and picklable anywhere."""

    use: str
    settings: str
    """The settings as JSON."""
    plugins: tuple[str, ...] = ()
    plugin_folders: tuple[str, ...] = ()
    """Where modules in ``plugins`` are looked for before Python's own path."""
    measured: str = ""
    """What was measured of the machine of the run, see :class:`evoprune.Measured`, as JSON; empty for nothing."""


@dataclass(frozen=True)
class Place:
    """Where a process evaluates: ``device`` replaces a problem's ``device: auto``; None leaves it as it is."""

    device: str | None = None
    threads: int | None = None


def worker_name(process: int | None = None) -> str:
    """Host and number of a ``process``, or of this one: what a worker signs with."""
    return f"{platform.node()}:{process or os.getpid()}"


def build_problem(ref: ProblemRef, device: str | None = None) -> Problem:
    """Build the problem, on ``device`` where its settings say ``device: auto``. Raises :class:`InputError`."""
    for name in ref.plugins:
        registry.plugin(name, ref.plugin_folders)
    problem = registry.problem(ref.use, ref.plugins)
    given = json.loads(ref.settings)
    if device and given.get("device") == AUTO:
        given["device"] = device
    try:
        settings = problem.Settings.model_validate(given)
    except ValidationError as error:
        raise InputError(explain(error, problem.Settings), "--devices") from None
    return _informed(problem(settings), ref.measured)


def _informed(problem: Problem, measured: str) -> Problem:
    if measured and isinstance(problem, Measured):
        problem.use_measurements(json.loads(measured))
    return problem


def limit_threads(threads: int | None) -> None:
    """Give libraries this many threads; None leaves them as they are.

    To be called before they are imported: they read the number once.
    """
    if threads:
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))


def failed(why: str, worker: str = "") -> Evaluation:
    """An evaluation that failed before it could say its values and its work."""
    return Evaluation((), work=0.0, failure=why, worker=worker)


class Worker:
    """What a process that evaluates keeps: its device, the name it signs scores with, and one problem, built once.

    ``name`` is empty in a main process that evaluates by itself.
    """

    def __init__(self) -> None:
        self.device: str | None = None
        self.name = ""
        self._ref: ProblemRef | None = None
        self._problem: Problem | None = None

    def assign(self, place: Place, name: str = "") -> None:
        """Evaluate at ``place``, and sign scores as ``name``; to be called before a problem is built."""
        limit_threads(place.threads)
        if place.device != self.device:
            self.forget()
        self.device, self.name = place.device, name

    def problem(self, ref: ProblemRef) -> Problem:
        """The problem of ``ref``: the one that is kept, or a new one in its place. Raises :class:`InputError`.

        One that did not know yet what was measured gets to know it.
        """
        if self._problem is None or self._ref != ref:
            if self._problem and self._ref == replace(ref, measured=""):
                problem = _informed(self._problem, ref.measured)
            else:
                self.forget()  # a device may have no room for two
                problem = build_problem(ref, self.device)
            self._ref, self._problem = ref, problem
        return self._problem

    def forget(self) -> None:
        """Keep no problem."""
        self._ref = self._problem = None

    def evaluate(self, ref: ProblemRef, genome: Sequence[float], fidelity: float) -> Evaluation:
        """See :func:`evaluate`."""
        return self._score(
            ref, lambda problem: problem.evaluate(genome) if fidelity == 1 else problem.evaluate(genome, fidelity)
        )

    def judge(self, ref: ProblemRef, genome: Sequence[float]) -> Evaluation:
        """See :func:`judge`."""
        return self._score(ref, lambda problem: cast(Finals, problem).judge(genome))

    def _score(self, ref: ProblemRef, score: Callable[[Problem], Evaluation]) -> Evaluation:
        try:
            problem = self.problem(ref)
        except (Exception, SystemExit) as error:
            why = f"the problem cannot be built: {type(error).__name__}: {error}"
            return failed(why, self.name)
        start = time.perf_counter()
        try:
            evaluation = _checked(score(problem), problem.weights)
        except (Exception, SystemExit) as error:
            evaluation = failed(f"{type(error).__name__}: {error}")
        return replace(evaluation, seconds=time.perf_counter() - start, worker=self.name)


this_worker = Worker()
"""This process's. SCOOP and Dask call :func:`evaluate` in processes of theirs, where nothing else could keep it."""


def evaluate(ref: ProblemRef, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
    """Score ``genome`` on a share ``fidelity``, in (0, 1], of the data; never raises for a candidate's own fault.

    An exception or a value that is not a finite number becomes the worst possible fitness
    with its reason in ``failure``. So does a problem that cannot be built in this process,
    but without values: how many there should be is not known then.
    """
    return this_worker.evaluate(ref, genome, fidelity)


def judge(ref: ProblemRef, genome: Sequence[float]) -> Evaluation:
    """As :func:`evaluate`, what the problem's finals say of ``genome``: see :class:`evoprune.Finals`."""
    return this_worker.judge(ref, genome)


def _checked(evaluation: Evaluation, weights: Sequence[float]) -> Evaluation:
    """``evaluation`` as the history can hold it. Raises ValueError or TypeError where it cannot."""
    values = tuple(map(float, evaluation.values))
    if len(values) != len(weights):
        raise ValueError(f"{len(values)} fitness values for {len(weights)} objectives")
    if not evaluation.work >= 0:
        raise ValueError(f"work is {evaluation.work}: expected at least 0")
    json.dumps([evaluation.measures, evaluation.work], allow_nan=False)
    failure = evaluation.failure
    if failure is None and not all(map(math.isfinite, values)):
        failure = "fitness is not a finite number"
    return replace(evaluation, values=worst(weights) if failure else values, failure=failure)
