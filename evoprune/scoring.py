"""Gives individuals their fitness: through the memo, the workers, the history and the progress."""

from __future__ import annotations

from collections.abc import Sequence

from deap import base

from evoprune.errors import Stopped
from evoprune.history import History, scored
from evoprune.individual import Individual
from evoprune.problem import Evaluation
from evoprune.progress import Progress

_FEW = 10
"""Candidates before the share of failures is judged."""


class Scorer:
    """Scores individuals, each genome once.

    ``evaluations`` counts genomes scored (memo hits and references not), ``work`` what
    they cost in the problem's unit, ``busy`` the seconds spent in ``evaluate``.
    """

    def __init__(self, toolbox: base.Toolbox, history: History, progress: Progress, max_failures: float) -> None:
        self._toolbox, self._history, self._progress = toolbox, history, progress
        self._max_failures = max_failures
        self._memo: dict[tuple[float, ...], Evaluation] = {}
        self.candidates = self.evaluations = self.failures = 0
        self.work = self.busy = 0.0

    def references(self, genomes: dict[str, list[float]]) -> dict[str, tuple[list[float], Evaluation]]:
        """Score known solutions. They are not part of the search, so the memo does not learn them."""
        results = {}
        evaluations = self._toolbox.map(self._toolbox.evaluate, genomes.values())
        for (name, genome), evaluation in zip(genomes.items(), evaluations, strict=True):
            self._history.write({"reference": name, "genome": genome, **scored(evaluation)})
            self._progress.reference(name, evaluation)
            results[name] = (genome, evaluation)
        return results

    def score(self, individuals: Sequence[Individual], generation: int) -> None:
        """Number ``individuals``, set their fitness and record them in their order.

        Raises :class:`Stopped` when the share of failed candidates passes ``max_failures``.
        """
        self._progress.begin(generation, len(individuals))
        new = list(dict.fromkeys(i.genome for i in individuals if i.genome not in self._memo))
        results = iter(self._toolbox.map(self._toolbox.evaluate, new))
        for individual in individuals:
            known = individual.genome in self._memo
            if not known:
                self._memo[individual.genome] = self._count(next(results))
            self._record(individual, generation, known)
        self._check_failures()

    def evaluation_of(self, individual: Individual) -> Evaluation:
        """How ``individual``, which was scored before, scored."""
        return self._memo[individual.genome]

    def _count(self, evaluation: Evaluation) -> Evaluation:
        self.evaluations += 1
        self.work += evaluation.work
        self.busy += evaluation.seconds
        self.failures += evaluation.failure is not None
        return evaluation

    def _record(self, individual: Individual, generation: int, known: bool) -> None:
        evaluation = self._memo[individual.genome]
        individual.ident = self.candidates
        individual.fitness.values = evaluation.values
        self.candidates += 1
        line = {"candidate": individual.ident, "generation": generation, "parents": list(individual.parents)}
        self._history.write(line | {"genome": list(individual), "memo": known} | scored(evaluation))
        self._progress.candidate(individual, self.evaluations, self.work)

    def _check_failures(self) -> None:
        share = self.failures / max(1, self.evaluations)
        if self.evaluations >= _FEW and share > self._max_failures:
            reasons = [e.failure for e in self._memo.values() if e.failure]
            raise Stopped(
                f"{self.failures} of {self.evaluations} candidates failed (max_failures: {self._max_failures:g}); "
                f"the last one: {reasons[-1]}"
            )
