"""Forecast of the time of a run: its algorithm with random scores, at a measured speed."""

import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from evoprune.backends.execution import Execution
from evoprune.console.errors import Stopped
from evoprune.console.formatting import digits
from evoprune.console.progress import steps
from evoprune.experiment.resolve import Resolved
from evoprune.experiment.spec import Experiment
from evoprune.interfaces.algorithm import Evaluate
from evoprune.interfaces.parts import Reporting, part
from evoprune.interfaces.problem import Evaluation, Problem
from evoprune.interfaces.space import Space
from evoprune.records.recorded import Key
from evoprune.search.noise import for_search, sample_of
from evoprune.search.scoring import preserve_random_state
from evoprune.search.toolbox import Prepared, decide_execution

_TIMED = 3  # evaluations, after one that warms up
_HOUR = 3600.0
IDLE_GENERATIONS = 100  # in a row that scored nothing new, after which a search with a budget ends


def all_scored(space: Space, scored: Collection[Key]) -> bool:
    """Return whether all possible genomes were ``scored`` on all the data."""
    return len(scored) >= space.size and sum(fidelity == 1.0 for _, fidelity, _ in scored) >= space.size


def is_over(
    experiment: Experiment, problem: Problem, scored: Collection[Key], work: float, generation: int, idle: int
) -> bool:
    """Return whether a search ends after ``generation``.

    ``scored``: keys of all scores; ``idle``: generations without a new one, at the end.
    """
    if not experiment.budget:
        return generation == experiment.generations
    spent = work >= for_search(problem, experiment.budget)
    exhausted = not problem.noisy and all_scored(problem.space, scored)
    return spent or generation == experiment.generations or idle == IDLE_GENERATIONS or exhausted


def evaluations_left(experiment: Experiment, problem: Problem, work: float) -> float:
    """Return how many evaluations the search has left after ``work``; infinite where the budget does not count them."""
    if not experiment.budget or problem.work_unit != Problem.work_unit:
        return math.inf
    return max(0.0, math.ceil(for_search(problem, experiment.budget) - work))


@dataclass(frozen=True)
class Forecast:
    """Work of the search, of scoring known solutions, and of the report; ``speed``: work a second of all workers."""

    unit: str
    speed: float
    search: float
    references: float
    report: float

    @classmethod
    def of(cls, run: Prepared, timed: Sequence[Evaluation]) -> Self:
        """Return the forecast of ``run`` from ``timed`` evaluations on all the data, at least one sound."""
        if not (sound := sound_evaluations(timed)):
            raise Stopped(f"every evaluation failed; the last one: {timed[-1].failure}")
        work = sum(evaluation.work for evaluation in sound)
        speed = (run.execution.workers or 1) * work / max(1e-9, sum(evaluation.seconds for evaluation in sound))
        reports, known = part(run.problem, Reporting), len(run.problem.references())
        each = work / len(sound)
        return cls(run.problem.work_unit, speed, _searched(run, each), known * each, reports.work() if reports else 0.0)

    @property
    def seconds(self) -> float:
        """Seconds of search and report, without the known solutions."""
        return (self.search + self.report) / self.speed

    @property
    def advice(self) -> str:
        """The budget of a run of an hour, or the reason against one; empty for a run that is not longer."""
        if self.seconds <= _HOUR:
            return ""
        left = _HOUR * self.speed - self.references - self.report
        return f"in an hour: --set budget={left:.0f}" if left > 0 else "the report alone takes more than an hour"

    def lines(self) -> list[str]:
        """The speed, and the time of each part, for a person."""
        parts = {"known solutions": self.references, "search": self.search, "report": self.report}
        times = [f"{name}: {work / self.speed / 60:,.1f} min" for name, work in parts.items()]
        return [f"speed: {digits(self.speed, 3)} {self.unit} a second", *times, *filter(None, [self.advice])]


def sound_evaluations(timed: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the evaluations that did not fail, and had work to do."""
    return [evaluation for evaluation in timed if evaluation.failure is None and evaluation.work]


def measure(resolved: Resolved, execution: Execution) -> Forecast:
    """Load the problem, and time the first genomes of the search."""
    run = Prepared.of(resolved, Path(), decide_execution(resolved, execution))
    random.seed(resolved.experiment.seed)
    first = next(step for step in run.toolbox.algorithm(run.toolbox) if isinstance(step, Evaluate))
    few = first.individuals[: 1 + _TIMED]
    timed = [
        run.toolbox.evaluate([(one, 1) if run.problem.noisy else one])[0]
        for one in steps(few, "timing the first candidates", "candidate")
    ]
    return Forecast.of(run, timed[1:] or timed)


def _searched(run: Prepared, work: float) -> float:
    """Return the work of a search with random scores. ``work``: of an evaluation."""
    experiment, problem = run.resolved.experiment, run.problem
    scores: dict[Key, list[float]] = {}
    total, before, generation, idle = 0.0, 0.0, -1, 0
    with preserve_random_state():
        random.seed(experiment.seed)
        for step in run.toolbox.algorithm(run.toolbox):
            if isinstance(step, Evaluate):
                known = len(scores)
                fidelity = step.fidelity if problem.has_fidelities else 1.0
                for individual in step.individuals:
                    key = individual.genome, fidelity, sample_of(generation + 1) if problem.noisy else 0
                    drawn = scores.setdefault(key, [random.random() for _ in problem.signs])
                    individual.fitness.assign(drawn, 0.0)
                total += fidelity * work * (len(scores) - known)
                continue
            generation, idle, before = generation + 1, 0 if total > before else idle + 1, total
            if is_over(experiment, problem, scores, total, generation, idle):
                break
    return total
