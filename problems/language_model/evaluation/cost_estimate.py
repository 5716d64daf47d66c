"""The speed of a model on a few windows."""

import time
from dataclasses import dataclass

import torch

from evoprune.problems.language_model.calibration import gradients
from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.models.blocks import in_features
from evoprune.problems.language_model.models.resident import Resident

_ENOUGH = 1.0  # s for which windows are scored, at least one pass
_LEAST = 2.0  # gradients take at least so many times as long as a score: differences of short times are noisy


@dataclass(frozen=True)
class Pace:
    """Seconds for each token: ``scored``, and with ``gradients`` (None: not asked for)."""

    scored: float
    gradients: float | None


def pace(resident: Resident, tokens: torch.Tensor, with_gradients: bool) -> Pace:
    """Measure ``resident`` on at least two windows ``tokens`` ``(windows, window)``."""
    measure, slope = Measure(resident.forward, None), None

    def seconds(batch: torch.Tensor) -> float:
        start = time.perf_counter()
        measure.value(batch, Perplexity())  # as a candidate is scored, without progress
        return time.perf_counter() - start

    batch, times = tokens[:1], [seconds(tokens[:1])]
    if times[0] < _ENOUGH:  # the first of short passes takes longer
        batch = tokens[: max(1, min(int(_ENOUGH / times[0]), measure.batch_tokens // tokens.shape[1]))]
        times, end = [], time.perf_counter() + _ENOUGH
        while not times or time.perf_counter() < end:
            times.append(seconds(batch))
    scored = min(times) / batch.numel()
    if with_gradients:
        one, two = (_gradients(resident, tokens[:count]) for count in (1, 2))
        slope = max(_LEAST * scored, (two - one) / tokens.shape[1])
    return Pace(scored, slope)


def mean_inputs(resident: Resident) -> float:
    """Return the mean over weights of the number of inputs of their layer."""
    weights = sum(matrix.size for matrix in resident.matrices)
    return sum(in_features(matrix.module) * matrix.size for matrix in resident.matrices) / weights


def _gradients(resident: Resident, tokens: torch.Tensor) -> float:
    start = time.perf_counter()
    gradients.gather(resident.model, tokens, resident.matrices, {gradients.SIZES})
    return time.perf_counter() - start
