"""Scores with noise: the mean and the standard error of each genome."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from evoprune.interfaces.problem import Evaluation
from evoprune.records.recorded import Genome

RACE = 0.1
"""Share of a budget that is for the final race."""


class Means:
    """The scores of each genome on several samples. ``sign``: of the objective."""

    def __init__(self, sign: float) -> None:
        self._sign = math.copysign(1.0, sign)
        self._scores: dict[tuple[Genome, float], list[Evaluation]] = {}
        self._squares, self._degrees = 0.0, 0  # of deviations from the means of genomes

    def add(self, genome: Genome, fidelity: float, score: Evaluation) -> None:
        scores = self._scores.setdefault((genome, fidelity), [])
        before = [one.values[0] for one in scores]
        scores.append(score)
        if before and math.isfinite(sum(before) + score.values[0]):
            count, away = len(before), score.values[0] - fmean(before)
            self._squares += away**2 * count / (count + 1)
            self._degrees += 1

    def settle(self, genome: Genome, scores: Iterable[Evaluation]) -> None:
        """Let the mean of ``genome`` be that of ``scores`` alone."""
        self._scores[genome, 1.0] = [*scores]

    def of(self, genome: Genome, fidelity: float = 1.0) -> Evaluation:
        """Return the mean score of ``genome``; its failure, if one of its samples failed."""
        scores = self._scores[genome, fidelity]
        if failed := next((score for score in scores if score.failure), None):
            return failed
        last = scores[-1]
        values, excess = fmean(one.values[0] for one in scores), fmean(one.violation for one in scores)
        return Evaluation((values,), last.work, last.measures, violation=excess)

    def standard_error(self, genome: Genome) -> float:
        """Return the standard error of the mean of ``genome``, by the variance within all genomes."""
        variance = self._squares / self._degrees if self._degrees else 0.0
        return math.sqrt(variance / len(self._scores[genome, 1.0]))

    def best(self, count: int) -> list[Genome]:
        """Return ``count`` genomes, best first: by violation, then by the mean less a standard error."""

        def bound(genome: Genome) -> tuple[float, float]:
            mean = self.of(genome)
            return -mean.violation, self._sign * mean.values[0] - self.standard_error(genome)

        genomes = [genome for genome, fidelity in self._scores if fidelity == 1]
        return sorted(genomes, key=bound, reverse=True)[:count]
