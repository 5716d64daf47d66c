"""One search, from its first draw or from what is recorded of it, to its result."""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy
from deap import base

from evoprune.backends import Backend
from evoprune.console.formatting import digits
from evoprune.console.phase import note
from evoprune.errors import Stopped
from evoprune.experiment import config
from evoprune.experiment.explain import validated
from evoprune.experiment.spec import Experiment
from evoprune.exports.exporting import Draft
from evoprune.figures import draw_convergence, draw_front
from evoprune.files.json_files import finite, write_json
from evoprune.interfaces.algorithm import Evaluate, Individual
from evoprune.interfaces.parts import Outcome, Reporting, TradeOffs, part, titles
from evoprune.interfaces.problem import Evaluation, Problem
from evoprune.interfaces.result import Result
from evoprune.records import recorded, run_folder
from evoprune.records.history import History
from evoprune.records.recorded import RecordedRun
from evoprune.records.status import StatusFile
from evoprune.search.evaluator import Evaluator, hold, score_references
from evoprune.search.progress import Progress
from evoprune.search.scoring import Scoring, draws_apart
from evoprune.search.toolbox import Prepared

Json = dict[str, Any]

_IDLE_GENERATIONS = 100  # in a row that scored nothing new, after which a search with a budget ends


@dataclass(frozen=True)
class _Found:
    """Result of a search. ``front``: what no other dominates; ``finals``: keys of the result; ``last`` generation.

    ``timed_out``: whether the planned time ended it. ``drafting``: seconds that the last draft of its result took.
    """

    best: Individual
    front: Sequence[Individual]
    finals: Json
    references: Mapping[str, tuple[list[float], Evaluation]]
    last: int
    seconds: float
    timed_out: bool
    drafting: float


def carry_out(run: Prepared, backend: Backend, past: RecordedRun, environment: Json, status: StatusFile) -> bool:
    """Search, from the start or with the ``past``, and write the result; return whether that was needed."""
    folder = run.folder

    def go_live() -> None:
        (folder / run_folder.RESULT).unlink(missing_ok=True)  # that of a run which is lengthened
        status.begin()
        run_folder.write_config(folder, run.resolved.config())
        if run.measured:
            write_json(folder / run_folder.MEASURED, run.measured)
        write_json(folder / run_folder.ENVIRONMENT, environment)
        for told in recorded.cut_broken_end(folder):
            note(told)

    with closing(History(folder, past.lines, go_live)) as history:
        result = _search(run, backend, history, past, status)
    if result is None:
        return False
    write_json(folder / run_folder.RESULT, result.as_json())
    if reporting := part(run.problem, Reporting):
        stated = config.read(folder / run_folder.CONFIG)
        if (settled := reporting.settled(stated["problem"], result)) != stated["problem"]:
            run_folder.write_config(folder, stated | {"problem": dict(settled)})
    status.end("done")
    if reporting:
        reporting.delete_checkpoints(folder)
    return True


def _search(run: Prepared, backend: Backend, history: History, past: RecordedRun, status: StatusFile) -> Result | None:
    """Search and report; None as :func:`carry_out` returns False."""
    experiment, problem = run.resolved.experiment, run.problem
    with Progress(experiment.generations, experiment.budget, problem.work_unit, past.seconds) as progress:
        run.toolbox.register("map", backend.map)
        random.seed(experiment.seed)
        numpy.random.seed(experiment.seed)  # for DEAP's operators that draw from numpy
        progress.note(f"{run.folder}: {problem.describe()}")
        if not past.lines:
            history.go_live()
        scoring = Scoring(run.toolbox, problem, backend, history)
        evaluator = Evaluator(scoring, progress, experiment.max_failures, past)
        found = _find(run, evaluator, history, past, progress, status)
        if history.at_end and (run.folder / run_folder.RESULT).exists():
            return None
        history.go_live()
        if found.timed_out:  # `resume`, and another run of this experiment, end where it ended
            run_folder.write_config(run.folder, run.resolved.config() | {"generations": found.last})
        if failure := evaluator.evaluation_of(found.best.genome).failure:
            raise Stopped(f"every candidate failed; the last one: {failure}")
        if experiment.budget and evaluator.work < experiment.budget:
            ended = "its time" if found.timed_out else f"generations={found.last}"
            why = f"; {ended} ended it" if found.timed_out or found.last == experiment.generations else ""
            spent = f"{evaluator.work:,.0f} of a budget of {experiment.budget:,.0f} {problem.work_unit} were spent"
            progress.note(spent + why)
        if violation := found.best.fitness.violation:
            progress.note(f"no candidate satisfies all constraints; the best violates them by {digits(violation)}")
        progress.note("the search is done; writing the report on its best candidate")
        progress.now("writing the report")
        return _report(run, evaluator, history, found, status)


def _find(
    run: Prepared,
    evaluator: Evaluator,
    history: History,
    past: RecordedRun,
    progress: Progress,
    status: StatusFile,
) -> _Found:
    """Score the known solutions, search and hold the finals."""
    experiment, problem = run.resolved.experiment, run.problem
    references = score_references(evaluator, problem.references())
    start = time.perf_counter() - past.seconds
    draft = Draft(run.folder, problem)

    def loss(best: Individual) -> str:
        left = status.seconds_left()
        minutes = "" if left is None else f", {max(0.0, left) / 60:.1f} min left"
        return f"{problem.labels_of(problem.settings)[0]} {digits(best.fitness.values[0])}{minutes}"

    def draft_best(now: bool = False) -> None:
        if draft.out and history.live and evaluator.best is not None:
            with draws_apart():
                draft.write(evaluator.best.genome, now, loss(evaluator.best))

    def after_generation(number: int, population: Sequence[Individual]) -> None:
        line = _generation_line(number, population, evaluator)
        times = {"idle": round(evaluator.scoring.idle_share(), 4), "seconds": round(time.perf_counter() - start, 6)}
        history.write(line | times, sync=True)
        if history.live:
            progress.generation(number, line["median"])

    def is_late() -> bool:
        left = status.seconds_left(searching=True)
        return (history.live or history.at_end) and left is not None and left <= 0

    try:
        best, last, timed_out = _evolve(run.toolbox, experiment, evaluator, after_generation, draft_best, is_late)
    except KeyboardInterrupt:
        draft_best(now=True)
        raise
    progress.now("judging the finalists")
    best, finals = hold(problem, best, evaluator)
    seconds = time.perf_counter() - start
    front = sorted(evaluator.front, key=lambda individual: individual.fitness, reverse=True)
    if front:
        best = front[_choose(problem, [individual.fitness.values for individual in front])]
    if history.live:
        draft.write(best.genome, True, loss(best))
    return _Found(best, front, finals, references, last, seconds, timed_out, draft.seconds)


def _choose(problem: Problem, front: Sequence[tuple[float, ...]]) -> int:
    """The index in ``front`` of the result: the problem's choice, else the best by the first objective."""
    if traded := part(problem, TradeOffs):
        return traded.choose(front)
    return max(range(len(front)), key=lambda at: problem.signs[0] * front[at][0])


def _report(run: Prepared, evaluator: Evaluator, history: History, found: _Found, status: StatusFile) -> Result:
    """The result with the problem's report; draws the figures."""
    problem, folder, seed = run.problem, run.folder, run.resolved.experiment.seed
    result: Json = {
        "best": _individual(found.best),
        "work": evaluator.work,
        "work_unit": problem.work_unit,
        "evaluations": evaluator.evaluations,
        "seconds": found.seconds,
        "seconds_evaluating": evaluator.busy,
        "failures": evaluator.failures.count,
        "seed": seed,
        **found.finals,
    }
    title, drawn = titles(run.resolved.problem, problem.settings, seed)
    if run.execution.figures:
        draw_convergence(history.summary, problem.labels_of(problem.settings), folder, title, drawn)
    if found.front:
        result["front"] = [_individual(individual) for individual in found.front]
    if found.front and run.execution.figures:
        known = [evaluation.values for _, evaluation in found.references.values()]
        families = {"found": [individual.fitness.values for individual in found.front], "known solutions": known}
        title = f"Trade-offs that no other candidate dominates\n{title}"
        draw_front(families, problem.labels_of(problem.settings), problem.signs, folder, title)
    if reporting := part(problem, Reporting):
        evaluation = evaluator.evaluation_of(found.best.genome)
        front = [(list(individual), individual.fitness.values) for individual in found.front]
        left = status.seconds_left()
        left = None if left is None else left - found.drafting  # the export writes it again
        outcome = Outcome(list(found.best), evaluation, found.references, front, title, left)
        result = {**reporting.report(outcome, folder), **result}
    return validated(problem.Result, result, f"{type(problem).__name__}.report")


def _individual(individual: Individual) -> Json:
    fitness = individual.fitness
    found = {"genome": list(individual), "fitness": list(fitness.values), "candidate": individual.ident}
    return found | ({"violation": fitness.violation} if fitness.violation else {})


def _evolve(
    tools: base.Toolbox,
    experiment: Experiment,
    evaluator: Evaluator,
    after_generation: Callable[[int, Sequence[Individual]], None],
    after_evaluation: Callable[[], None],
    is_late: Callable[[], bool],
) -> tuple[Individual, int, bool]:
    """Run the algorithm to its last generation, or until its budget or time is spent.

    Return the best individual, the last generation, and whether the time ended it.
    """
    last, idle, before, late = -1, 0, evaluator.work, False
    for step in tools.algorithm(tools):
        if isinstance(step, Evaluate):
            evaluator.evaluate(step, last + 1)
            after_evaluation()
            continue
        last += 1
        after_generation(last, step.population)
        idle, before = 0 if evaluator.work > before else idle + 1, evaluator.work
        spent = evaluator.work >= (experiment.budget or math.inf)
        if spent or last == experiment.generations or (experiment.budget and idle == _IDLE_GENERATIONS):
            break
        if late := is_late():
            break
    if evaluator.best is None:
        raise Stopped("the algorithm ended without a candidate that was scored on all the data")
    return evaluator.best, last, late


def _generation_line(number: int, population: Sequence[Individual], evaluator: Evaluator) -> dict[str, Any]:
    """The best so far and the spread of the first objective over ``population``; null where a value is infinite."""
    worst = min(population, key=lambda individual: individual.fitness)
    values = sorted(individual.fitness.values[0] for individual in population)
    return {
        "generation": number,
        "best": finite(evaluator.best.fitness.values[0]) if evaluator.best else None,
        "median": finite(median(values)),
        "quartiles": [finite(quantile(values, share)) for share in (0.25, 0.75)],
        "worst": finite(worst.fitness.values[0]),
        "evaluations": evaluator.evaluations,
        "work": evaluator.work,
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two values next to ``share`` of the way; infinite ones, unlike in libraries, spoil no others."""
    place = share * (len(ordered) - 1)
    below, rest = ordered[int(place)], place - int(place)
    return below * (1 - rest) + ordered[int(place) + 1] * rest if rest else below
