"""Compares the variants of an ablation: spread, intervals, and rank tests against the first."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from scipy import stats

CONFIDENCE = 0.95
_RESAMPLES = 9999


@dataclass(frozen=True)
class Row:
    """One variant's final scores over its seeds.

    ``interval``: a bootstrap interval (percentile) of the median, at ``CONFIDENCE``.
    The median of few scores has no such interval: that of all of them reaches 1 - 2^(1 - runs).
    ``p``: of the Mann-Whitney U test (two-sided) that the scores are drawn as the first
    variant's are, corrected for the number of comparisons by Holm's method; None for the first.
    """

    variant: str
    runs: int
    median: float
    quartiles: tuple[float, float]
    interval: tuple[float, float]
    p: float | None

    @property
    def differs(self) -> bool:
        """True if it differs from the first variant, at 1 - ``CONFIDENCE``."""
        return self.p is not None and self.p < 1 - CONFIDENCE


def compare(scores: Mapping[str, Sequence[float]]) -> list[Row]:
    """A row for each variant of ``scores`` (by name, a number a seed), in their order."""
    first = next(iter(scores.values()))
    raw = [_difference(first, values) for values in list(scores.values())[1:]]
    corrected: list[float | None] = [None, *holm(raw)]
    return [
        Row(
            name,
            len(values),
            float(numpy.median(values)),
            (float(numpy.quantile(values, 0.25)), float(numpy.quantile(values, 0.75))),
            _interval(values),
            p,
        )
        for (name, values), p in zip(scores.items(), corrected, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """``p_values`` corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def least_possible_p(seeds: int, variants: int) -> float:
    """The smallest corrected p that ``seeds`` runs of each of ``variants`` can reach, if none of them tie."""
    apart = _difference(range(seeds), range(seeds, 2 * seeds))
    return min(1.0, apart * max(1, variants - 1))


def in_words(rows: Sequence[Row], seeds: int) -> str:
    """Say of each variant whether it differs from the first, and whether so many seeds could show a difference."""
    first, *others = rows
    least = least_possible_p(seeds, len(rows))
    lines = []
    reached = 1 - 2.0 ** (1 - seeds)
    if reached < CONFIDENCE:
        lines.append(
            f"From the least to the largest of {seeds} seeds, an interval holds the median in {reached:.0%} of cases "
            f"at most, not in {CONFIDENCE:.0%}."
        )
    if least >= 1 - CONFIDENCE:
        lines.append(
            f"With {seeds} seeds and {len(rows)} variants no p can fall below {least:.3g}: "
            "too few to call any difference significant, whatever its size."
        )
    for row in others:
        way = "lower" if row.median < first.median else "higher" if row.median > first.median else "equal"
        verdict = "differs from" if row.differs else "is not shown to differ from"
        lines.append(
            f"{row.variant} {verdict} {first.variant}: median {row.median:.4g} against {first.median:.4g} "
            f"({way}), p = {row.p:.3g}."
        )
    return "\n".join(lines)


def _difference(first: Sequence[float], other: Sequence[float]) -> float:
    """The p of one comparison: exact where seeds are few, also with ties."""
    if min(len(first), len(other)) < 2:
        return 1.0
    ties = len({*first, *other}) < len(first) + len(other)
    method = stats.PermutationMethod(n_resamples=_RESAMPLES, random_state=0) if ties else "auto"
    return float(stats.mannwhitneyu(first, other, alternative="two-sided", method=method).pvalue)


def _interval(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2 or len(set(values)) == 1:
        return float(min(values)), float(max(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few values give few distinct medians
        found = stats.bootstrap(
            (list(values),), numpy.median, confidence_level=CONFIDENCE, n_resamples=_RESAMPLES,
            method="percentile", random_state=numpy.random.default_rng(0),
        ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
