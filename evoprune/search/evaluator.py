"""Scores individuals: from the memo, from a resumed run's record, or by workers; writes them to the history."""

import math
import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from deap import base
from deap.tools import HallOfFame, ParetoFront

from evoprune.backends import Backend, Stalled
from evoprune.errors import Stopped
from evoprune.interfaces.algorithm import Evaluate, Individual
from evoprune.interfaces.parts import Together, part
from evoprune.interfaces.problem import Evaluation, Problem, worst
from evoprune.records.history import History, Line, may_win, scored
from evoprune.records.recorded import Genome, Key, RecordedRun
from evoprune.search.draws import draws_apart
from evoprune.search.progress import Progress

_FEW = 10  # candidates before the share of failures is judged

_DEARER = 30.0
"""How many evaluations judging a finalist may take the time of: its final form may take long to make."""


@dataclass(frozen=True)
class _Asked:
    """A genome to score, its name in messages, and the part of its history line that is known before."""

    label: str
    line: Line
    genome: Genome
    fidelity: float = 1.0


class Evaluator:
    """Scores individuals: each genome once on a share of the data, and none whose score is ``recorded``.

    ``evaluations``: scores but for memo hits and references; ``work``: their cost; ``busy``: seconds
    in ``evaluate``. ``front``: the non-dominated ones.
    """

    def __init__(
        self,
        toolbox: base.Toolbox,
        problem: Problem,
        backend: Backend,
        history: History,
        progress: Progress,
        max_failures: float,
        recorded: RecordedRun,
    ) -> None:
        self._toolbox, self._problem, self._backend = toolbox, problem, backend
        self._history, self._progress = history, progress
        self._max_failures, self._recorded = max_failures, recorded
        self._memo: dict[Key, Evaluation] = {}
        self._known: dict[Genome, Evaluation] = {}
        self._numbers: dict[Genome, int] = {}
        self._usual_work: dict[float, float] = {}
        self._open: dict[Genome, list[tuple[Individual, _Asked]]] = {}  # begun, without a score
        self._given: list[_Asked] = []  # to the workers, of those that were begun
        self._genomes: list[Genome] = []
        self._arriving: Iterator[tuple[int, Evaluation]] = self._toolbox.map(self._toolbox.evaluate, self._genomes)
        self._last_failure, self._spent, self._wall = "", 0.0, 0.0
        self.front = ParetoFront()
        self._leading = HallOfFame(1)
        self.candidates = self.evaluations = self.failures = 0
        self.work = self.busy = 0.0

    @property
    def best(self) -> Individual | None:
        """The best that may become the result, by its first objective."""
        return self._leading[0] if self._leading else None

    def references(self, genomes: Mapping[str, list[float]]) -> dict[str, tuple[list[float], Evaluation]]:
        """Score known solutions. They are not part of the search, so the memo does not learn them."""
        asked = [_Asked(n, {"reference": n, "genome": list(g)}, tuple(g)) for n, g in genomes.items()]
        self._history.expect(one.line for one in asked)
        results = {}
        with draws_apart(), self._backend.at_work():
            evaluations = self._in_order(asked, self._recorded.references, **self._scoring(1.0))
            for one, evaluation in zip(asked, map(self._with_work, evaluations), strict=True):
                self._history.write(one.line | scored(evaluation))
                self._progress.reference(one.label, evaluation)
                results[one.label] = (list(one.genome), evaluation)
                self._known[one.genome] = evaluation
        self._spent = 0.0  # the search's idle time is the search's alone
        self._history.caught_up()
        return results

    def evaluate(self, asked: Evaluate, generation: int) -> None:
        """Set and record the individuals' fitness. Raises :class:`Stopped` for too many failures, or no results."""
        self._progress.begin(generation, len(asked.individuals))
        fidelity = asked.fidelity if self._problem.has_fidelities else 1.0
        candidates = list(self._candidates(asked, generation, fidelity))
        self._history.expect(candidate.line for candidate in candidates)
        start = time.perf_counter()
        results = self._in_order(
            [one for one in candidates if not one.line["memo"]],
            self._recorded.candidates,
            **self._scoring(fidelity),
        )
        with draws_apart(), self._backend.at_work():
            for individual, candidate in zip(asked.individuals, candidates, strict=True):
                if not candidate.line["memo"]:
                    self._learn(candidate, next(results))
                self._record(individual, candidate)
            self._wall += time.perf_counter() - start
        self._history.caught_up()
        self._check_failures()

    def begin(self, asked: Evaluate, generation: int) -> list[Individual]:
        """Begin to score individuals. Return those whose score came next, none while a worker is free.

        The order in which scores come is recorded, and kept by a resumed run with any number of workers.
        """
        self._progress.begin(generation, len(asked.individuals))
        for individual, candidate in zip(asked.individuals, self._candidates(asked, generation, 1.0), strict=True):
            self._open.setdefault(candidate.genome, []).append((individual, candidate))
        past = self._history.next_candidate
        at_once = past.get("at_once", 1) if past else self._backend.workers
        known = self._memo if past else ChainMap(self._memo, self._recorded.candidates)
        genome = next((genome for genome in self._open if (genome, 1.0) in known), None)
        if genome is None and len(self._open) < at_once:
            return []
        if genome is None and past:
            genome = tuple(past["genome"])
            if genome not in self._open:
                self._history.expect([asked.line for [(_, asked), *_] in self._open.values()][:1])  # says what differs
            evaluation = self._recorded.candidates[genome, 1.0]
        elif genome is None:
            genome, evaluation = self._arrival()
        else:
            evaluation = known[genome, 1.0]
        arrived = self._open.pop(genome)
        for individual, candidate in arrived:
            if not candidate.line["memo"]:
                self._learn(candidate, evaluation)
            candidate.line.update(generation=generation, at_once=at_once)
            self._record(individual, candidate)
        self._check_failures()
        return [individual for individual, _ in arrived]

    def _arrival(self) -> tuple[Genome, Evaluation]:
        """The next score from the workers, who are given all that was begun."""
        last = self._given[-1].line["candidate"] if self._given else -1
        new = [asked for [(_, asked), *_] in self._open.values() if asked.line["candidate"] > last]
        self._history.expect(asked.line for asked in new)
        self._given += new
        self._genomes += [asked.genome for asked in new]
        start = time.perf_counter()
        with draws_apart(), self._backend.at_work():
            index, evaluation = self._next(self._arriving, self._given)
        self._wall += time.perf_counter() - start
        return self._given[index].genome, evaluation

    def judge(self, genomes: Mapping[int | str, Genome]) -> dict[int | str, Evaluation]:
        """Judge finalists, by number or name, see :class:`evoprune.Finals`."""
        asked = [_Asked(f"finalist {n}", {"finalist": n, "genome": list(g)}, g) for n, g in genomes.items()]
        self._history.expect(one.line for one in asked)
        found = {}
        with draws_apart(), self._backend.at_work():
            judged = self._in_order(asked, self._recorded.finalists, self._toolbox.judge, slower=_DEARER)
            for name, one, evaluation in zip(genomes, asked, judged, strict=True):
                self.busy += evaluation.seconds
                self._history.write(one.line | scored(evaluation), sync=True)
                self._progress.finalist(one.label, evaluation)
                found[name] = evaluation
        self._history.caught_up()
        return found

    def evaluation_of(self, genome: Genome) -> Evaluation:
        return self._memo.get((genome, 1.0)) or self._known[genome]

    def known(self, genome: Genome) -> Individual:
        individual = Individual(genome, self._problem.weights)
        evaluation = self.evaluation_of(genome)
        individual.fitness.assign(evaluation.values, evaluation.violation)
        individual.ident = self._numbers.get(genome)
        return individual

    def idle_share(self) -> float:
        """The share of the workers' time that was not spent in ``evaluate``, since the last call."""
        idle = 1 - self._spent / (self._backend.workers * self._wall) if self._wall else 0.0
        self._spent = self._wall = 0.0
        return max(0.0, idle)

    def _candidates(self, asked: Evaluate, generation: int, fidelity: float) -> Iterator[_Asked]:
        new: set[Genome] = set()
        for individual in asked.individuals:
            number, genome = self.candidates, individual.genome
            if not all(map(math.isfinite, genome)):  # the history could not hold it
                raise Stopped(f"candidate {number}: an operator bred a gene that is not finite: {list(genome)}")
            known = (genome, fidelity) in self._memo or genome in new or genome in self._open
            line: Line = {"candidate": number, "generation": generation, "parents": list(individual.parents)}
            line["genome"], line["memo"] = list(genome), known
            if fidelity < 1:
                line["fidelity"] = fidelity
            if asked.probe:
                line["probe"] = True
            new.add(genome)
            self.candidates += 1
            yield _Asked(str(number), line, genome, fidelity)

    def _in_order(
        self,
        asked: Sequence[_Asked],
        known: Mapping[Key, Evaluation],
        score: Callable[[Any], Any],
        **how: float,
    ) -> Iterator[Evaluation]:
        """The score of each of ``asked``, in their order; those before their turn are kept for resuming."""
        ready = {at: known[key] for at, one in enumerate(asked) if (key := (one.genome, one.fidelity)) in known}
        rest = [at for at in range(len(asked)) if at not in ready]
        waiting = [asked[at] for at in rest]
        arriving = self._toolbox.map(score, [one.genome for one in waiting], **how)
        for turn in range(len(asked)):
            while turn not in ready:
                index, evaluation = self._next(arriving, waiting)
                ready[rest[index]] = evaluation
                if rest[index] != turn:
                    self._history.ahead(waiting[index].line | scored(evaluation))
            yield ready.pop(turn)

    def _scoring(self, fidelity: float) -> dict[str, Any]:
        """The function that scores, and how the backend maps it."""
        if (several := part(self._problem, Together)) and several.together:
            return {"score": partial(self._toolbox.evaluate_together, fidelity=fidelity), "together": True}
        return {"score": partial(self._toolbox.evaluate, fidelity=fidelity)}

    def _next(self, arriving: Iterator[tuple[int, Evaluation]], asked: Sequence[_Asked]) -> tuple[int, Evaluation]:
        """The index in ``asked`` of the next score, and the score."""
        try:
            index, evaluation = next(arriving)
        except Stalled as stall:
            names = [asked[index].label for index in stall.missing]
            raise Stopped(f"{stall}; without a score: {', '.join(names)}") from None
        self._spent += evaluation.seconds
        if evaluation.failure:
            evaluation = replace(evaluation, values=worst(self._problem.weights))
        return index, evaluation

    def _with_work(self, evaluation: Evaluation, fidelity: float = 1.0) -> Evaluation:
        """``evaluation``; one that failed before it could tell its work counts as the last that told it, in order."""
        if evaluation.failure and not evaluation.work:
            return replace(evaluation, work=self._usual_work.get(fidelity, 1.0))
        self._usual_work[fidelity] = evaluation.work
        return evaluation

    def _learn(self, asked: _Asked, evaluation: Evaluation) -> None:
        """Keep the score of ``asked`` in the memo, and count it."""
        evaluation = self._with_work(evaluation, asked.fidelity)
        self._memo[asked.genome, asked.fidelity] = evaluation
        self.evaluations += 1
        self.work += evaluation.work
        self.busy += evaluation.seconds
        if evaluation.failure is not None:
            self.failures += 1
            self._last_failure = evaluation.failure

    def _record(self, individual: Individual, candidate: _Asked) -> None:
        evaluation = self._memo[candidate.genome, candidate.fidelity]
        individual.ident = candidate.line["candidate"]
        individual.fitness.assign(evaluation.values, evaluation.violation)
        if may_win(candidate.line):
            self._numbers.setdefault(candidate.genome, candidate.line["candidate"])
            self._leading.update([individual])
            if evaluation.failure is None and len(evaluation.values) > 1:
                self.front.update([individual])
        self._history.write(candidate.line | scored(evaluation))
        self._progress.candidate(self.best, self.evaluations, self.work)

    def _check_failures(self) -> None:
        share = self.failures / max(1, self.evaluations)
        if self.evaluations >= _FEW and share > self._max_failures:
            raise Stopped(
                f"{self.failures} of {self.evaluations} candidates failed (max_failures: {self._max_failures:g}); "
                f"the last one: {self._last_failure}"
            )
