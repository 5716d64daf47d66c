"""What a run was worth, in a sentence or two, read from its ``result.json``. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from evoprune import digits

EVOLVED, UNIFORM = "evolved", "uniform"

_NOTHING = 0.005
"""A share of the gap that is no gain."""

Json = Mapping[str, Any]


def verdict(result: Json) -> str:
    """What was removed, the perplexities on the report text of what is exported, and what the search gained.

    ``result``: the run's ``result.json``, in which null is an infinite perplexity.
    """
    scores = exported_form(result)
    return " ".join([f"{_removed(result)}: {_perplexities(result, scores)}.", *_gain(result, scores)])


def exported_form(result: Json) -> dict[str, float | None]:
    """The perplexities on the report text by name, with updated weights if the run updated them."""
    perplexity: Mapping[str, dict[str, float | None]] = result["perplexity"]
    return perplexity["report"] | perplexity.get("report_reconstructed", {})


def gap_closed(dense: float | None, uniform: float | None, evolved: float | None) -> float | None:
    """The share of the gap in log-perplexity between uniform and dense that evolved closes.

    1 is as good as dense, 0 as bad as uniform; None if there is no finite gap. Uniform and evolved have one sparsity.
    """
    if dense is None or uniform is None or evolved is None or uniform <= dense:
        return None
    return math.log(uniform / evolved) / math.log(uniform / dense)


def _removed(result: Json) -> str:
    return ", ".join(_ways(result)) or f"{result['sparsity']['prunable']:.1%} of the weights removed"


def _ways(result: Json) -> Iterator[str]:
    """In which ways the model is smaller, except by zeros."""
    cost = result.get("cost", {})
    parameters, bits, times = (cost.get(unit) for unit in ("parameters", "bits_per_weight", "milliseconds"))
    if times:
        asked = f" ({times['speedup']:g} asked for)" if "speedup" in times else ""  # not in runs of before
        yield f"{times['dense'] / times['evolved']:.2f} times as fast{asked}"
    weight = "weight"
    if parameters and parameters["evolved"] < parameters["dense"]:
        weight = "weight that is left,"
        yield f"{1 - parameters['evolved'] / parameters['dense']:.1%} of the parameters removed"
    if bits and bits["evolved"] < bits["dense"]:
        yield f"{bits['evolved']:.2f} bits a {weight} instead of {bits['dense']:.2f}"


def _perplexities(result: Json, scores: Mapping[str, float | None]) -> str:
    names = [name for name in ("dense", UNIFORM) if name in scores]
    recovered = result.get("recovered", {}).get(EVOLVED)
    if not (recovered and recovered["helped"]):
        others = ", ".join(f"{name} {digits(scores[name], 3)}" for name in names)
        return f"perplexity {digits(scores[EVOLVED], 3)} ({others})"
    others = ", ".join(_beside(name, result["recovered"].get(name), scores[name]) for name in names)
    after = digits(recovered["perplexity_after"], 3)
    return f"perplexity {after} after recovery, {digits(scores[EVOLVED], 3)} before ({others})"


def _beside(name: str, recovered: Json | None, before: float | None) -> str:
    """What a known solution has beside a recovered model."""
    if name == "dense":
        return f"dense {digits(before, 3)}"
    return f"{name} {digits(recovered['perplexity_after'], 3)}" if recovered else f"{name} {digits(before, 3)} before"


def _gain(result: Json, scores: Mapping[str, float | None]) -> Iterator[str]:
    """What the search gained, where there is something of the same size to compare it with."""
    if UNIFORM not in scores or "front" in result:
        return
    chosen = result.get("chosen", EVOLVED)
    if chosen == EVOLVED and scores[EVOLVED] == scores[UNIFORM]:
        chosen = UNIFORM
    closed = gap_closed(scores["dense"], scores[UNIFORM], scores[EVOLVED])
    if chosen != EVOLVED:
        yield f"The search gained nothing over {chosen} here; the result is the {chosen} model."
    elif closed is not None and closed < _NOTHING:
        yield "On the report text, the search gained nothing over uniform."
    elif closed is not None:
        yield f"The search closed {closed:.0%} of what the uniform model loses."
