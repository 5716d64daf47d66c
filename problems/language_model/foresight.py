"""How fast a model runs here, measured on a few windows: what plans and estimates are made of."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from problems.language_model.evaluation.measure import Measure
from problems.language_model.resident import Resident
from problems.language_model.statistics import gradients

_ENOUGH = 1.0
"""Seconds for which windows are scored, if one pass does not take longer."""

_LEAST = 2.0
"""Gradients take at least so many times as long as a score: two short times may differ by less than they are off."""


@dataclass(frozen=True)
class Pace:
    """Seconds for each token: ``scored``, and with ``gradients``; None if they were not asked for."""

    scored: float
    gradients: float | None


def pace(resident: Resident, tokens: torch.Tensor, with_gradients: bool) -> Pace:
    """Measure ``resident`` on ``tokens`` ``(windows, window)``, at least two windows.

    Gradients take a float32 number for each prunable weight meanwhile.
    """
    measure = Measure(resident.forward, None)
    batch = tokens[: max(1, measure.batch_tokens // tokens.shape[1])]
    measure.perplexity(batch[:1])  # the first pass takes longer
    times: list[float] = []
    end = time.perf_counter() + _ENOUGH
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        measure.perplexity(batch)
        times.append(time.perf_counter() - start)
    scored, slope = min(times) / batch.numel(), None
    if with_gradients:
        one, two = (_gradients(resident, tokens[:count]) for count in (1, 2))
        slope = max(_LEAST * scored, (two - one) / tokens.shape[1])
    return Pace(scored, slope)


def _gradients(resident: Resident, tokens: torch.Tensor) -> float:
    start = time.perf_counter()
    gradients.gather(resident.model, tokens, resident.matrices, {gradients.SIZES})
    return time.perf_counter() - start
