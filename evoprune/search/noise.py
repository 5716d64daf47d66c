"""Scores with noise: the mean and the standard error of each genome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
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
    """The scores of each genome on several samples, less their difficulty. ``sign``: of the objective.

    A score is the sum of a genome's mean, the difficulty of a sample, and noise. The difficulty of a sample is
    estimated by all genomes that were scored before, and shrunk by the variance of difficulties so far, as in a
    meta-analysis with random effects (DerSimonian and Laird, Controlled Clinical Trials 7, 1986).
    """

    def __init__(self, sign: float) -> None:
        self._sign = math.copysign(1.0, sign)
        self._scores: dict[tuple[Genome, float], list[Evaluation]] = {}
        self._means: dict[tuple[Genome, float], Evaluation] = {}  # all are compared after each generation
        self._new: list[tuple[Genome, float]] = []  # scored since the last call of close
        self._squares, self._degrees = 0.0, 0  # of deviations from the means of genomes
        self._difficulties: dict[tuple[int, float], float] = {}  # by sample and fidelity
        self._excess = 0.0  # of the squares of all difficulties over those by noise

    def add(self, genome: Genome, fidelity: float, score: Evaluation) -> None:
        key = genome, fidelity
        scores = self._scores.setdefault(key, [])
        scores.append(score)
        self._means[key] = _mean(scores)
        self._new.append(key)

    def close(self, sample: int, fidelity: float) -> None:
        """Correct the scores since the last call, all on this ``sample``, by its difficulty."""
        new, self._new = self._new, []
        changes, weights = [], []
        for key in new:
            *before, score = (one.values[0] for one in self._scores[key])
            if before and math.isfinite(change := score - fmean(before)):
                changes.append(change)
                weights.append(len(before) / (len(before) + 1))
        if len(changes) > 1 and (sample, fidelity) not in self._difficulties:
            difficulty = sum(map(math.prod, zip(weights, changes, strict=True))) / sum(weights)
            self._learn(weights, [change - difficulty for change in changes], len(changes) - 1)
            error = self._variance / sum(weights)
            self._excess += difficulty**2 - error
            spread = max(0.0, self._excess / (len(self._difficulties) + 1))
            self._difficulties[sample, fidelity] = difficulty * spread / (spread + error) if spread else 0.0
        else:
            self._learn(weights, changes, len(changes))
        difficulty = self._difficulties.get((sample, fidelity), 0.0)
        for key in new if difficulty else ():
            scores = self._scores[key]
            scores[-1] = replace(scores[-1], values=(scores[-1].values[0] - difficulty,))
            self._means[key] = _mean(scores)

    def _learn(self, weights: Sequence[float], deviations: Sequence[float], degrees: int) -> None:
        self._squares += sum(weight * away**2 for weight, away in zip(weights, deviations, strict=True))
        self._degrees += degrees

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
