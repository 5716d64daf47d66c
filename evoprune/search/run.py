"""A run from a resolved experiment to a folder with its result."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy
from deap import base

from evoprune import backends
from evoprune.algorithm import Score
from evoprune.backends import evaluation
from evoprune.backends.execution import Execution
from evoprune.errors import InputError, Stopped
from evoprune.experiment.resolve import Resolved
from evoprune.experiment.spec import Experiment
from evoprune.figures import draw_convergence
from evoprune.individual import Individual
from evoprune.numeric import finite
from evoprune.problem import Evaluation, Outcome, Problem
from evoprune.records import recorded, run_folder
from evoprune.records.history import HISTORY, History, read
from evoprune.records.recorded import Key, Recorded
from evoprune.search import toolbox
from evoprune.search.progress import Progress
from evoprune.search.scoring import Scorer
from evoprune.search.trial import try_out
from evoprune.search.watching import Watch, check

FREE_KEYS = frozenset({"generations", "budget", "max_failures"})
"""Keys of an experiment that decide no line of its history, only how many there will be."""

_IDLE_GENERATIONS = 100
"""With a budget, a search ends after as many generations in a row that scored nothing new: it may never spend it."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What one run works with, all of it decided and loaded before anything is written."""

    resolved: Resolved
    problem: Problem
    toolbox: base.Toolbox
    execution: Execution
    folder: Path
    building: float
    """Seconds that building the problem took."""

    @classmethod
    def prepared(cls, resolved: Resolved, folder: Path, execution: Execution) -> Run:
        """Load the problem and try the operators. Raises :class:`InputError`."""
        backends.settle_main_process(execution.with_threads())  # before anything reads the number of threads
        execution = execution.decided(resolved.problem)
        backends.settle_main_process(execution)
        start = time.perf_counter()
        problem = evaluation.load(toolbox.reference(resolved))
        building = time.perf_counter() - start
        tools = toolbox.build(resolved, problem)
        try_out(tools, resolved)
        if resolved.experiment.patience is not None:
            check(problem, tools)
        return cls(resolved, problem, tools, execution, folder, building)

    @property
    def deciding(self) -> Json:
        """The part of the experiment that decides every line of the history."""
        return {key: value for key, value in self.resolved.config().items() if key not in FREE_KEYS}


def run(
    resolved: Resolved,
    folder: Path,
    execution: Execution | None = None,
    known: Mapping[Key, Evaluation] = MappingProxyType({}),
) -> Json | None:
    """Run the experiment and leave everything in ``folder``, which is made; return the result.

    The problem is loaded and the operators are tried before anything is written. Raises
    :class:`InputError` for the user's input, :class:`Stopped` when the run ends early, and
    lets ``KeyboardInterrupt`` through; ``status.json`` tells which it was. ``known`` are
    scores of candidates on the same problem, which need not be computed again.
    """
    run = Run.prepared(resolved, folder, execution or Execution())
    environment = run_folder.environment() | {
        "execution": asdict(run.execution),
        "experiment": run.deciding,
        "fingerprint": run.problem.fingerprint(),
    }
    with backends.start(run.execution, run.building) as backend:
        run_folder.create(folder)
        with run_folder.locked(folder):
            return carry_out(run, backend, Recorded(candidates=dict(known)), environment)


def carry_out(run: Run, backend: backends.Backend, past: Recorded, environment: Json) -> Json | None:
    """Search, from the start or with what is known of the past, and write the result.

    None, and nothing is changed, if the past holds the whole search and its result is there.
    """
    folder = run.folder

    def begin() -> None:
        (folder / "result.json").unlink(missing_ok=True)  # that of a run which is lengthened
        run_folder.write_status(folder, "running")
        run_folder.write_config(folder, run.resolved.config())
        run_folder.write_json(folder / "environment.json", environment)
        for note in recorded.cut_broken_end(folder):
            print(note, file=sys.stderr)

    history = History(folder, past.lines, begin)
    try:
        with run_folder.stopping_at_full_disks(folder):
            result = _search(run, backend, history, past)
            if result is None:
                return None
            run_folder.write_json(folder / "result.json", result)
            run_folder.write_status(folder, "done")
    except BaseException as error:
        if history.live:
            with suppress(OSError):
                run_folder.write_status(folder, _state(error), _reason(error))
        raise
    return result


def _state(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "stopped" if isinstance(error, (Stopped, InputError)) else "failed"


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted (Ctrl-C or a signal)"
    return str(error) or type(error).__name__


def _search(run: Run, backend: backends.Backend, history: History, past: Recorded) -> Json | None:
    experiment, problem, tools = run.resolved.experiment, run.problem, run.toolbox
    tools.register("map", backend.map)
    random.seed(experiment.seed)
    numpy.random.seed(experiment.seed)  # for DEAP's operators that draw from numpy
    progress = Progress(experiment.generations, experiment.budget, problem.work_unit, past.seconds, problem.preparation)
    workers = run.execution.workers or 1
    progress.note(f"{run.folder}: {problem.describe()}; {workers} worker{'s' * (workers > 1)}")
    scorer = Scorer(tools, problem, backend, history, progress, experiment.max_failures, past)
    watch = Watch(problem, experiment.patience, past.watched)
    if not past.lines:
        history.go_live()

    last = 0

    def after_generation(number: int, population: Sequence[Individual]) -> None:
        nonlocal last
        last = number
        line = _generation_line(number, population, scorer) | watch.look(number, scorer.best)
        times = {"idle": round(scorer.idle_share(), 4), "seconds": round(time.perf_counter() - start, 6)}
        history.write(line | times, sync=True)
        if history.live:
            progress.generation(number, line["median"])

    try:
        references = scorer.references(problem.references())
        start = time.perf_counter() - past.seconds
        best = _evolve(tools, experiment, scorer, watch, after_generation)
        seconds = time.perf_counter() - start
        front = sorted(scorer.front, key=lambda individual: individual.fitness, reverse=True)
        if front:
            best = front[problem.choose([individual.fitness.values for individual in front])]
    finally:
        progress.close()
    if history.at_end and (run.folder / "result.json").exists():
        return None
    history.go_live()
    outcome = scorer.evaluation_of(best)
    if outcome.failure:
        raise Stopped(f"every candidate failed; the last one: {outcome.failure}")
    if experiment.budget and scorer.work < experiment.budget:
        why = f"; generations={last} ended it" if last == experiment.generations else ""
        spent = f"{scorer.work:,.0f} of a budget of {experiment.budget:,.0f} {problem.work_unit} were spent"
        progress.note(spent + why)
    progress.note("the search is done; reporting on its best")
    result = {
        "best": _individual(best),
        "work": scorer.work,
        "work_unit": problem.work_unit,
        "preparation": problem.preparation,
        "evaluations": scorer.evaluations,
        "seconds": seconds,
        "seconds_evaluating": scorer.busy,
        "failures": scorer.failures,
        "seed": experiment.seed,
    }
    draw_convergence(list(read(run.folder / HISTORY)), problem.fitness_label, run.folder)
    if front:
        result["front"] = [_individual(individual) for individual in front]
    solutions = [(list(individual), individual.fitness.values) for individual in front]
    return result | problem.finish(Outcome(list(best), outcome, references, solutions), run.folder) | result


def _individual(individual: Individual) -> Json:
    return {
        "genome": list(individual),
        "fitness": list(individual.fitness.values),
        "candidate": individual.ident,
    }


def _evolve(
    tools: base.Toolbox,
    experiment: Experiment,
    scorer: Scorer,
    watch: Watch,
    after_generation: Callable[[int, Sequence[Individual]], None],
) -> Individual:
    """Run the algorithm to its last generation, or until budget or patience is spent.

    Return the best individual: on the data that was watched, where any was. A budget that
    nothing is spent of any more ends with :data:`_IDLE_GENERATIONS`.
    """
    number, idle, before = 0, 0, scorer.work
    for step in tools.algorithm(tools):
        if isinstance(step, Score):
            scorer.score(step.individuals, number, step.fidelity)
            continue
        after_generation(number, step.population)
        idle, before = 0 if scorer.work > before else idle + 1, scorer.work
        spent = scorer.work >= (experiment.budget or math.inf) or watch.over
        if spent or number == experiment.generations or (experiment.budget and idle == _IDLE_GENERATIONS):
            break
        number += 1
    if scorer.best is None:
        raise Stopped("the algorithm ended without a candidate that was scored on all the data")
    return watch.best or scorer.best


def _generation_line(number: int, population: Sequence[Individual], scorer: Scorer) -> Json:
    """The best so far and the spread of the first objective over ``population``; null where a value is infinite."""
    worst = min(population, key=lambda individual: individual.fitness)
    values = sorted(individual.fitness.values[0] for individual in population)
    return {
        "generation": number,
        "best": finite(scorer.best.fitness.values[0]) if scorer.best else None,
        "median": finite(median(values)),
        "quartiles": [finite(_quantile(values, share)) for share in (0.25, 0.75)],
        "worst": finite(worst.fitness.values[0]),
        "evaluations": scorer.evaluations,
        "work": scorer.work,
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two values next to ``share`` of the way; infinite ones, unlike in libraries, spoil no others."""
    place = share * (len(ordered) - 1)
    below, rest = ordered[int(place)], place - int(place)
    return below * (1 - rest) + ordered[int(place) + 1] * rest if rest else below
