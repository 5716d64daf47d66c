"""One search, from its first draw, or its record, to its result."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from operator import attrgetter
from pathlib import Path
from statistics import median

import numpy

from evoprune.backends import Backend
from evoprune.console.errors import Stopped, first_line
from evoprune.console.formatting import digits, interval, plain
from evoprune.console.progress import Progress, note
from evoprune.experiment import config
from evoprune.experiment.explain import validated
from evoprune.exports.exporting import Draft
from evoprune.figures.search import draw_convergence, draw_front
from evoprune.files.json_files import finite, write_json
from evoprune.interfaces.algorithm import Evaluate, Individual
from evoprune.interfaces.genes import Genes
from evoprune.interfaces.parts import Outcome, Reporting, part, reporting, titles
from evoprune.interfaces.problem import Evaluation, Problem, answer
from evoprune.interfaces.result import Result
from evoprune.interfaces.space import Space
from evoprune.records import recorded, run_folder
from evoprune.records.history import History, Line
from evoprune.records.recorded import Key, RecordedRun
from evoprune.records.status import StatusFile
from evoprune.search.evaluator import Evaluator, hold_finals, score_references
from evoprune.search.forecast import Forecast, evaluations_left, is_over, sound_evaluations
from evoprune.search.noise import RACE, sample_of
from evoprune.search.progress import SearchProgress
from evoprune.search.race import final_race
from evoprune.search.scoring import Scoring, preserve_random_state
from evoprune.search.sharing import Sharing
from evoprune.search.toolbox import Prepared

StoppingRule = Callable[[int, Mapping[Key, Evaluation], float, Individual, Space, bool], bool]
"""From the generation, all scores, seconds, the best, the space, and False during a replay: True ends the search."""

_QUICK = 0.1  # seconds of an evaluation below which no forecast is made
_LONG = 600.0  # seconds of a run above which its forecast is shown


def run_search(
    run: Prepared, backend: Backend, past: RecordedRun, environment: Line, status: StatusFile,
    rule: StoppingRule | None = None,
) -> bool:  # fmt: skip
    """Search, replaying the ``past``, and write the result; return whether that was needed."""
    folder, experiment = run.folder, run.resolved.experiment

    def go_live() -> None:
        (folder / run_folder.RESULT).unlink(missing_ok=True)  # of a shorter run that is continued
        status.begin()
        run_folder.write_config(folder, run.resolved.config())
        if run.measured:
            write_json(folder / run_folder.MEASURED, run.measured)
        write_json(folder / run_folder.ENVIRONMENT, environment)
        for remark in recorded.cut_broken_end(folder):
            note(remark)

    with (
        closing(History(folder, past.lines, go_live)) as history,
        SearchProgress(experiment.generations, experiment.budget, run.problem.work_unit, past.seconds) as progress,
    ):
        result = _Search(run, backend, history, past, progress, status, rule).result()
    if result is None:
        return False
    write_json(folder / run_folder.RESULT, result.as_json())
    reports = part(run.problem, Reporting)
    if reports and not (folder / run_folder.PROMISED).exists():  # else after the export, which uses this problem again
        write_repeatable_config(folder, type(run.problem), result)
    status.end("done")
    if reports:
        reports.delete_checkpoints(folder)
    return True


def write_repeatable_config(folder: Path, problem: type[Problem], result: Result) -> None:
    """Write the :func:`repeatable_config` into ``config.yaml``."""
    stated = config.read(folder / run_folder.CONFIG)
    if (repeated := repeatable_config(stated, problem, result)) != stated:
        run_folder.write_config(folder, repeated)


def repeatable_config(experiment: config.Config, problem: type[Problem], result: Result) -> config.Config:
    """Return the ``experiment`` that repeats ``result`` without a limit of time."""
    return experiment | {"problem": dict(reporting(problem).settled(experiment["problem"], result))}


class _Search:
    """The search of ``run``, with the scores of the ``past`` as far as they reach."""

    def __init__(
        self, run: Prepared, backend: Backend, history: History, past: RecordedRun, progress: SearchProgress,
        status: StatusFile, rule: StoppingRule | None,
    ) -> None:  # fmt: skip
        self._run, self._history, self._past, self._progress, self._status = run, history, past, progress, status
        self._experiment, self._problem = run.resolved.experiment, run.problem
        run.toolbox.register("map", backend.map)
        sharing = Sharing(run.folder, self._problem) if run.execution.shared else None
        scoring = Scoring(run.toolbox, self._problem, backend, history, sharing)
        self._evaluator = Evaluator(scoring, progress, self._experiment.max_failures, past)
        self._draft, self._rule = Draft(run.folder, self._problem), rule
        self._generation, self._ended_by = -1, ""
        self._recommended: Sequence[Individual] = ()
        self._start = 0.0

    def result(self) -> Result | None:
        """Search and report; None where the recorded search is complete and has its result."""
        run, history, evaluator, progress = self._run, self._history, self._evaluator, self._progress
        random.seed(self._experiment.seed)
        numpy.random.seed(self._experiment.seed)  # for DEAP's operators that draw from numpy
        progress.note(f"{run.folder}: {self._problem.describe()}")
        if not self._past.lines:
            history.go_live()
        references = score_references(evaluator, answer(self._problem, "references", Mapping))
        if references and not self._past.lines:
            self._tell_time([evaluation for _, evaluation in references.values()])
        self._start = time.perf_counter() - self._past.seconds
        try:
            best = self._evolve()
        except KeyboardInterrupt:
            self._draft_best(now=True)
            raise
        progress.flush()
        with Progress("judging the finalists"):
            best, finals = self._race() if self._problem.noisy else hold_finals(self._problem, best, evaluator)
        seconds = time.perf_counter() - self._start
        front = sorted(evaluator.front, key=attrgetter("fitness"), reverse=True)
        if history.live:
            self._draft.write(best.genome, True, self._quality(best))
        if history.at_end and (run.folder / run_folder.RESULT).exists():
            return None
        history.go_live()
        if self._ended_by:  # `resume`, and another run of this experiment, end where it ended
            run_folder.write_config(run.folder, run.resolved.config() | {"generations": self._generation})
        if failure := evaluator.evaluation_of(best.genome).failure:
            raise Stopped(f"every candidate failed; the last one: {first_line(failure)}")
        self._remark(best)
        with Progress("writing the report"):
            return self._report(best, front, references, finals | {"seconds": seconds})

    def _tell_time(self, timed: Sequence[Evaluation]) -> None:
        """Note the forecast of a long run without a limit of time, from ``timed`` evaluations."""
        sound = sound_evaluations(timed)
        slow = any(evaluation.seconds >= _QUICK for evaluation in sound)
        if self._status.seconds_left() is not None or not slow:
            return
        forecast = Forecast.of(self._run, sound)
        if forecast.seconds > _LONG:
            words = [f"search and report take about {forecast.seconds / 60:,.0f} min", forecast.advice]
            self._progress.note("; ".join(filter(None, words)))

    def _evolve(self) -> Individual:
        """Run the algorithm to its last generation, or until its budget or time is spent; return the best."""
        experiment, evaluator = self._experiment, self._evaluator
        idle, before, begun = 0, evaluator.work, time.monotonic()
        for step in self._run.toolbox.algorithm(self._run.toolbox):
            if isinstance(step, Evaluate):
                left = evaluations_left(experiment, self._problem, evaluator.work)
                whole = evaluator.evaluate(step, self._generation + 1, left)
                self._draft_best()
                if not whole:
                    break
                continue
            self._generation, self._recommended = self._generation + 1, step.recommended
            self._record_generation(step.population)
            idle, before = 0 if evaluator.work > before else idle + 1, evaluator.work
            now = time.monotonic()
            must_end, begun = self._must_end(now - begun), now
            if is_over(experiment, self._problem, evaluator.memo, evaluator.work, self._generation, idle):
                self._ended_by = ""
                break
            if must_end:
                break
        if evaluator.best is None:
            raise Stopped("the algorithm ended without a candidate that was scored on all the data")
        return evaluator.best

    def _race(self) -> tuple[Individual, Line]:
        """Hold the final race, in the work that is left, or a share of the search's."""
        budget, work = self._experiment.budget, self._evaluator.work
        left = max(0.0, budget - work) if budget and not self._ended_by else RACE * work
        unread = sample_of(self._generation + 2)  # the next generation may have begun
        return final_race(self._evaluator, self._recommended, unread, left)

    def _must_end(self, last: float) -> bool:
        """Return whether the rule ends the search, or less time is left than half a generation takes.

        A replay goes on. ``last``: seconds of the last generation.
        """
        new, left = self._history.live or self._history.at_end, self._status.seconds_left(True)
        stops = self._stops(new)
        if new:
            self._ended_by = "its time" if left is not None and left <= last / 2 else "the caller" if stops else ""
        return bool(self._ended_by)

    def _stops(self, new: bool) -> bool:
        """Return the decision of the :data:`StoppingRule`."""
        best, seconds = self._evaluator.best, time.perf_counter() - self._start
        if best is None or self._rule is None:
            return False
        with preserve_random_state():
            return self._rule(self._generation, self._evaluator.memo, seconds, best, self._problem.space, new)

    def _draft_best(self, now: bool = False) -> None:
        if self._draft.out and self._history.live and self._evaluator.best is not None:
            with preserve_random_state():
                self._draft.write(self._evaluator.best.genome, now, self._quality(self._evaluator.best))

    def _quality(self, best: Individual) -> str:
        left = self._status.seconds_left()
        minutes = "" if left is None or left < 0 else f", {interval(left)} left"
        return f"{self._problem.labels_of(self._problem.settings)[0]} {digits(best.fitness.values[0])}{minutes}"

    def _record_generation(self, population: Sequence[Individual]) -> None:
        """Write the best so far and the spread of the first objective; null where a value is infinite."""
        evaluator, best = self._evaluator, self._evaluator.best
        values = sorted(individual.fitness.values[0] for individual in population)
        middle = finite(median(values))
        line = {
            "generation": self._generation,
            "best": finite(best.fitness.values[0]) if best else None,
            "median": middle,
            "quartiles": [finite(quantile(values, share)) for share in (0.25, 0.75)],
            "worst": finite(min(population, key=attrgetter("fitness")).fitness.values[0]),
            "evaluations": evaluator.evaluations,
            "work": evaluator.work,
            "idle": round(evaluator.scoring.idle_share(), 4),
            "seconds": round(time.perf_counter() - self._start, 6),
        }
        self._history.write(line, sync=True)
        if self._history.live:
            self._progress.generation(self._generation, middle, self._status.seconds_left(True))

    def _remark(self, best: Individual) -> None:
        budget, work, unit = self._experiment.budget, self._evaluator.work, self._problem.work_unit
        if budget and 0 < work < budget:
            ended = self._ended_by or f"generations={self._generation}"
            all_done = self._ended_by or self._generation == self._experiment.generations
            why = f"; {ended} ended it" if all_done else ""
            self._progress.note(f"{work:,.0f} of a budget of {budget:,.0f} {unit} were spent{why}")
        if excess := best.fitness.violation:
            self._progress.note(f"no candidate satisfies all constraints; the best violates them by {digits(excess)}")

    def _report(
        self, best: Individual, front: Sequence[Individual], references: Mapping[str, tuple[list[float], Evaluation]],
        keys: Line,
    ) -> Result:  # fmt: skip
        """The result with the problem's report; draws the figures."""
        problem, evaluator, folder = self._problem, self._evaluator, self._run.folder
        labels = problem.labels_of(problem.settings)
        result: Line = {
            "best": _individual(best),
            "work": evaluator.work,
            "work_unit": problem.work_unit,
            "evaluations": evaluator.evaluations,
            "seconds_evaluating": evaluator.evaluation_seconds,
            "failures": evaluator.failures,
            "seed": self._experiment.seed,
            **keys,
        }
        if not isinstance(space := problem.space, Genes):
            result["genes"] = {key: plain(value) for key, value in space.shown(best.genome).items()}
        if front:
            result["front"] = [_individual(individual) for individual in front]
        title, drawn = titles(self._run.resolved.problem, problem.settings, self._experiment.seed)
        if self._run.execution.figures:
            draw_convergence(self._history.summary, labels[0], folder, title, drawn)
        if front:
            title = f"Trade-offs that no other candidate dominates\n{title}"
            if self._run.execution.figures:
                known = [evaluation.values for _, evaluation in references.values()]
                families = {"found": [individual.fitness.values for individual in front], "known solutions": known}
                draw_front(families, labels, problem.signs, folder, title)
        if reports := part(problem, Reporting):
            score, left = evaluator.evaluation_of(best.genome), self._status.seconds_left()
            outcome = Outcome(list(best.genome), score, references, title, left, self._draft.seconds)
            result = {**reports.report(outcome, folder), **result}
        return validated(problem.Result, result, f"{type(problem).__name__}.report")


def _individual(individual: Individual) -> Line:
    fitness = individual.fitness
    keys = {"genome": individual.genome, "fitness": list(fitness.values), "candidate": individual.ident}
    return keys | ({"violation": fitness.violation} if fitness.violation else {})


def quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two values next to ``share`` of the way; infinite ones, unlike in libraries, spoil no others."""
    place = share * (len(ordered) - 1)
    below, rest = ordered[int(place)], place - int(place)
    return below * (1 - rest) + ordered[int(place) + 1] * rest if rest else below
