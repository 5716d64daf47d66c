"""Scores with noise: the mean and the standard error of each genome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import nlargest
from statistics import fmean

from evoprune.interfaces.problem import Evaluation, Problem
from evoprune.records.recorded import Genome

RACE = 0.1
"""Share of a budget that is for the final race."""


def for_search(problem: Problem, budget: float) -> float:
    """Return the ``budget`` of a search of ``problem``, less the part for the final race where there is noise."""
    return budget * (1 - problem.noisy * RACE)


def sample_of(generation: int) -> int:
    """Return the number of the sample that all candidates of a ``generation`` read; 0 is that of no noise."""
    return generation + 1


class Means:
    """The scores of each genome on several samples. ``sign``: of the objective."""

    def __init__(self, sign: float) -> None:
        self._sign = math.copysign(1.0, sign)
        self._scores: dict[tuple[Genome, float], list[Evaluation]] = {}
        self._means: dict[tuple[Genome, float], Evaluation] = {}  # all are compared after each generation
        self._squares, self._degrees = 0.0, 0  # of deviations from the means of genomes

    def add(self, genome: Genome, fidelity: float, score: Evaluation) -> None:
        key = genome, fidelity
        scores = self._scores.setdefault(key, [])
        if scores and math.isfinite(away := score.values[0] - self._means[key].values[0]):
            self._squares += away**2 * len(scores) / (len(scores) + 1)
            self._degrees += 1
        scores.append(score)
        self._means[key] = _mean(scores)

    def settle(self, genome: Genome, scores: Sequence[Evaluation]) -> None:
        """Let the mean of ``genome`` be that of ``scores`` alone."""
        self._scores[genome, 1.0], self._means[genome, 1.0] = [*scores], _mean(scores)

    def of(self, genome: Genome, fidelity: float = 1.0) -> Evaluation:
        """Return the mean score of ``genome``; its failure, if one of its samples failed."""
        return self._means[genome, fidelity]

    def standard_error(self, genome: Genome) -> float:
        """Return the standard error of the mean of ``genome``, by the variance within all genomes."""
        return math.sqrt(self._variance / len(self._scores[genome, 1.0]))

    def best(self, count: int) -> list[Genome]:
        """Return ``count`` genomes, best first: by violation, then by the mean less a standard error."""
        variance = self._variance

        def bound(genome: Genome) -> tuple[float, float]:
            mean, scores = self._means[genome, 1.0], self._scores[genome, 1.0]
            return -mean.violation, self._sign * mean.values[0] - math.sqrt(variance / len(scores))

        return nlargest(count, (genome for genome, fidelity in self._scores if fidelity == 1), bound)

    @property
    def _variance(self) -> float:
        return self._squares / self._degrees if self._degrees else 0.0


def _mean(scores: Sequence[Evaluation]) -> Evaluation:
    if failed := next((score for score in scores if score.failure), None):
        return failed
    last = scores[-1]
    value, excess = fmean(one.values[0] for one in scores), fmean(one.violation for one in scores)
    return Evaluation((value,), last.work, last.measures, violation=excess)
