"""Time, memory and disk that a run will need, estimated from the model's speed on a few windows."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from evoprune.problems.language_model.calibration import PASSES, SOLVING, UPDATED, gradients
from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.models.blocks import in_features
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.throughput import peak_bytes
from evoprune.problems.language_model.texts.text_splits import Texts

_ENOUGH = 1.0  # s for which windows are scored, at least one pass
_REPORTED = 3  # models that are reported without updates
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


def estimate(settings: Any, work: float | None, evaluations: int) -> dict[str, str]:
    """See :meth:`evoprune.interfaces.parts.Foreseeing.foresee`."""
    start = time.perf_counter()
    resident = Resident.load(settings)
    seconds = {"loading": time.perf_counter() - start}
    needs = [kind.needs_of(resident, own) for kind, own in settings.chosen_transforms]
    names = frozenset().union(*(each.statistics for each in needs))
    texts = Texts(settings, resident, settings.calibrates)
    found = pace(resident, texts.search.tokens, bool(gradients.NAMES & names))
    calibrated = texts.calibration.tokens.numel() if texts.calibrates else 0
    updated = UPDATED if any(each.updates for each in needs) else 0
    solving = SOLVING["least_squares"] * mean_inputs(resident) + PASSES * calibrated
    seconds["quantising"] = sum(each.quantising for each in needs) / torch.get_num_threads()
    seconds["calibrating"] = calibrated * (found.scored + (found.gradients or 0.0))
    seconds["searching"] = (work or evaluations * texts.search.tokens.numel()) * found.scored
    seconds["updating weights"] = updated * solving * found.scored
    seconds["reporting"] = (_REPORTED + updated) * texts.report.tokens.numel() * found.scored
    parts = ", ".join(f"{name} {value / 60:.1f}" for name, value in seconds.items() if value)
    memory = peak_bytes(resident.device) + sum(each.memory for each in needs)
    return {
        "speed": f"{1 / found.scored:,.0f} tokens/s, {resident.dtype} on {resident.place}",
        "minutes": f"about {sum(seconds.values()) / 60:.1f} with one worker ({parts})",
        "memory": f"about {_size(memory)} for the first process",
        "disk": f"about {_size(sum(each.disk for each in needs))} that are kept for later runs",
    }


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def _gradients(resident: Resident, tokens: torch.Tensor) -> float:
    start = time.perf_counter()
    gradients.gather(resident.model, tokens, resident.matrices, {gradients.SIZES})
    return time.perf_counter() - start
