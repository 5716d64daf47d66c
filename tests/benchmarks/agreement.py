"""Do the number formats agree, and with an independent reference?"""

from __future__ import annotations

from random import Random
from statistics import correlation
from typing import Any

from problems.language_model.problem import Pruning
from problems.language_model.settings import PruningSettings
from tests.benchmarks.candidates import child
from tests.benchmarks.plain import perplexity


def agreement(settings: PruningSettings, candidates: int, climb: int, optimum: list[float] | None) -> dict[str, Any]:
    """bfloat16 against float32 on ``candidates`` around an optimum, and float32 against transformers on three.

    The optimum is given, or climbed to in bfloat16: ``climb`` children, the better one stays.
    """
    half, whole = (Pruning(settings.model_copy(update={"dtype": dtype})) for dtype in ("bfloat16", "float32"))
    rng = Random(0)
    best = optimum or _climb(half, [settings.sparsity] * len(half.genes), climb, rng)
    genomes = [best, *(child(rng, best) for _ in range(candidates - 1))]
    in_half = [half.evaluate(genome).values[0] for genome in genomes]
    in_whole = [whole.evaluate(genome).values[0] for genome in genomes]
    apart = [abs(h / w - 1) for h, w in zip(in_half, in_whole, strict=True)]
    return {
        "optimum": best,
        "bfloat16": in_half,
        "float32": in_whole,
        "dense": {"bfloat16": _dense(half), "float32": _dense(whole)},
        "largest_relative_difference": max(apart),
        "mean_relative_difference": sum(apart) / len(apart),
        "spearman": correlation(_ranks(in_half), _ranks(in_whole)),
        "float32_to_reference": max(_to_reference(whole, genome) for genome in genomes[:3]),
    }


def _climb(problem: Pruning, genome: list[float], steps: int, rng: Random) -> list[float]:
    value = problem.evaluate(genome).values[0]
    for _ in range(steps):
        other = child(rng, genome)
        found = problem.evaluate(other).values[0]
        if found < value:
            genome, value = other, found
    return genome


def _dense(problem: Pruning) -> float:
    return problem.evaluate(problem.session.transform.dense).values[0]


def _to_reference(problem: Pruning, genome: list[float]) -> float:
    """The relative difference from the model's own whole forward, window by window, with the same weights."""
    value = problem.evaluate(genome).values[0]
    return abs(value / perplexity(problem.session.resident.model, problem.session.texts.search.tokens) - 1)


def _ranks(values: list[float]) -> list[float]:
    """Their ranks; equal values have the mean of theirs."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]
