"""The task of workers, to score genomes; and their state: a device and a problem.

The backend of processes assigns devices. Workers of SCOOP and Dask have no numbers: each claims a device at its first
task, by a lock file on its host, until the process ends.
"""

import itertools
import json
import math
import os
import platform
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
import orjson

from evoprune.backends.base import Genomes, Scorer
from evoprune.console.errors import traced, typed
from evoprune.experiment import registry
from evoprune.experiment.explain import validated
from evoprune.files.locks import lock, user_folder
from evoprune.interfaces.parts import Finals, Measured, part
from evoprune.interfaces.problem import Evaluation, Problem, worst

AUTO = "auto"  # the setting device of a problem where each worker has one of its own
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_one_at_a_time = threading.Lock()  # Dask's workers may have threads, and a problem changes the model's own weights


@dataclass(frozen=True)
class ProblemRef:
    """All that a worker needs to build the problem; ``settings`` and ``measured`` are JSON, empty for nothing."""

    use: str
    settings: str
    plugins: tuple[str, ...] = ()
    plugin_folders: tuple[str, ...] = ()
    measured: str = ""


def worker_name(process: int | None = None) -> str:
    """Host and number of a ``process``, or of this one."""
    return f"{platform.node()}:{process or os.getpid()}"


def build_problem(ref: ProblemRef, device: str | None = None) -> Problem:
    """Build the problem, on ``device`` where its settings say ``device: auto``."""
    for name in ref.plugins:
        registry.plugin(name, ref.plugin_folders)
    problem, settings = registry.problem(ref.use, ref.plugins), json.loads(ref.settings)
    if device and settings.get("device") == AUTO:
        settings["device"] = device
    return problem(validated(problem.Settings, settings, "--devices"))


def limit_threads(threads: int | None) -> None:
    """Limit the threads of libraries, before they are imported: they read the number once."""
    if threads:
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))


def failed(why: str, worker: str = "") -> Evaluation:
    """Return an evaluation that failed before its values and work were known."""
    return Evaluation((), work=0.0, failure=why, worker=worker)


class Worker:
    """State of a process that evaluates: its device, its name (empty in a main process), and one problem."""

    def __init__(self) -> None:
        self.device: str | None = None
        self.name = ""
        self._ref: ProblemRef | None = None
        self._problem: Problem | None = None

    def assign(self, device: str | None, threads: int | None, name: str = "") -> None:
        """Evaluate on ``device``, and sign scores as ``name``; to be called before a problem is built."""
        limit_threads(threads)
        if device != self.device:
            self.forget()
        self.device, self.name = device, name

    def claim(self, devices: Sequence[str], threads: int | None) -> None:
        """Claim one of ``devices``, once: one that no process has, else one that the fewest have."""
        if not self.name:
            self.assign(_claim(devices), threads, worker_name())

    def problem(self, ref: ProblemRef) -> Problem:
        """Return the problem of ``ref``, built once; later measurements are passed on to it."""
        if self._problem is None or self._ref != ref:
            problem = self._problem if self._ref == replace(ref, measured="") else None
            self.forget()  # a device may have no room for two
            problem = problem or build_problem(ref, self.device)
            if ref.measured and (machine := part(problem, Measured)):
                machine.use_measurements(json.loads(ref.measured))
            self._ref, self._problem = ref, problem
        return self._problem

    def forget(self) -> None:
        self._ref = self._problem = None

    def scores(self, ref: ProblemRef, score: Callable[[Problem], Sequence[Evaluation]], count: int) -> list[Evaluation]:
        """Return the ``count`` evaluations by ``score``, with equal shares of the time; an exception fails all."""
        try:
            problem = self.problem(ref)
        except (Exception, SystemExit) as error:
            return count * [failed(f"the problem cannot be built: {typed(error)}", self.name)]
        start = time.perf_counter()
        try:
            scores = list(score(problem))
            if len(scores) != count:
                raise ValueError(f"{len(scores)} evaluations of {count} genomes")
            seconds = (time.perf_counter() - start) / count
            return [_checked(evaluation, problem.signs, seconds, self.name) for evaluation in scores]
        except (Exception, SystemExit) as error:
            seconds, why = (time.perf_counter() - start) / count, traced(error)
            return count * [replace(failed(why, self.name), values=worst(problem.signs), seconds=seconds)]


this_worker = Worker()
"""State of this process; a global, as SCOOP and Dask call plain functions."""


def evaluate(ref: ProblemRef, genomes: Genomes, fidelity: float = 1.0) -> list[Evaluation]:
    """Score ``genomes`` on a share ``fidelity``, in (0, 1], of the data; a fault becomes the worst fitness, and why."""
    return this_worker.scores(ref, lambda problem: problem.evaluate_batch(genomes, fidelity), len(genomes))


def evaluate_samples(
    seed: int, ref: ProblemRef, items: Sequence[tuple[Sequence[Any], int]], fidelity: float = 1.0
) -> list[Evaluation]:
    """Score genomes, each with the number of a sample, by the random numbers of the sample and the run's ``seed``."""

    def scores(problem: Problem) -> Iterator[Evaluation]:
        how = (fidelity,) if fidelity < 1 else ()
        for genome, sample in items:
            random.seed(f"{seed} {sample}")
            numpy.random.seed([seed, sample])
            yield problem.evaluate(genome, *how)

    return this_worker.scores(ref, lambda problem: list(scores(problem)), len(items))


def judge(ref: ProblemRef, genomes: Genomes) -> list[Evaluation]:
    """Judge ``genomes`` as :func:`evaluate` scores, by the problem's :class:`evoprune.Finals`."""

    def judged(problem: Problem) -> list[Evaluation]:
        finals = part(problem, Finals)
        assert finals is not None  # else nothing asks for it
        return [Evaluation((finals.judge(genome),), work=0.0) for genome in genomes]

    return this_worker.scores(ref, judged, len(genomes))


def evaluate_on_own_device(
    devices: tuple[str, ...], threads: int | None, function: Scorer, genomes: Genomes
) -> list[Evaluation]:
    """``function(genomes)``, in a process that has claimed its device: the task for SCOOP's and Dask's workers."""
    with _one_at_a_time:
        this_worker.claim(devices, threads)
        return function(genomes)


def _claim(devices: Sequence[str]) -> str | None:
    if not devices or set(devices) == {"cpu"}:
        return devices[0] if devices else None
    folder = user_folder()
    for level in itertools.count():
        for device in devices:
            if lock(folder / f"{device.replace(':', '-')}.{level}", wait=0) is not None:  # until this process ends
                return device
    return None


def _checked(evaluation: Evaluation, signs: Sequence[float], seconds: float, worker: str) -> Evaluation:
    """Return ``evaluation`` with its worker and time. Raises ValueError or TypeError if JSON cannot represent it."""
    values = tuple(map(float, evaluation.values))
    if not 0 <= evaluation.work < math.inf:
        raise ValueError(f"work is {evaluation.work}: expected at least 0, and finite")
    if not 0 <= evaluation.violation < math.inf:
        raise ValueError(f"the constraints are violated by {evaluation.violation}: expected a finite number")
    if evaluation.measures or evaluation.failure:
        json.dumps(evaluation.measures, allow_nan=False)
        orjson.dumps([evaluation.failure, dict(evaluation.measures)])  # by which the history is written
    failure = evaluation.failure
    if failure is None and not all(map(math.isfinite, values)):
        failure = "fitness is not a finite number"
    values = worst(signs) if failure else values
    return Evaluation(values, evaluation.work, evaluation.measures, failure, seconds, worker, evaluation.violation)
