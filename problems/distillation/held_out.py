"""What windows that are not trained on say of a model; it chooses the best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from problems.distillation.loss import divergence
from problems.evaluation.measure import Measure
from problems.models.forward import Forward

Point = Mapping[str, float | None]
"""A measurement: tokens trained on, the mean parts of the loss since the last one, and what held-out windows gave."""

PERPLEXITY, DIVERGENCE = "held_out", "held_out_divergence"
"""The names in a point of what is measured on held-out windows; the divergence only where it decides."""

WORDS = {PERPLEXITY: "perplexity", DIVERGENCE: "divergence"}
"""What people call these."""


def measured(student: Forward, teacher: Forward, tokens: torch.Tensor, cross_entropy: float) -> dict[str, float]:
    """The perplexity, and the divergence where nothing is learned of the text itself: it decides then.

    ``tokens``: the held-out windows ``(windows, window)``; ``cross_entropy``: that of the loss.
    """
    found = {PERPLEXITY: Measure(student, None).perplexity(tokens)}
    if not cross_entropy:
        found[DIVERGENCE] = divergence(student, teacher, tokens)
    return found


def decisive(student: Forward, teacher: Forward, tokens: torch.Tensor, cross_entropy: float) -> float:
    """What of :func:`measured` decides; the lower, the better."""
    return judged([measured(student, teacher, tokens, cross_entropy)])[0]


def judged_by(curve: Sequence[Point]) -> str:
    """The name of what decides which point is the best."""
    return DIVERGENCE if DIVERGENCE in curve[0] else PERPLEXITY


def judged(curve: Sequence[Point]) -> list[float]:
    """Of each point what decides; the lower, the better, and endless where it is no number."""
    values = [point[judged_by(curve)] for point in curve]
    return [math.inf if value is None or math.isnan(value) else value for value in values]
