"""Counts of a candidate are a law: kernels launched, waits for the device, and bytes copied to and from it.

All on windows that fit one batch, with nothing reused. Transformers waits once a batch, for the packed sequences that
it looks for; the other wait is for the loss.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from evoprune.experiment.explain import validated
from evoprune.problems.language_model.problem import LanguageModel
from tests.cuda.conftest import REAL
from tests.cuda.simulated import counts

pytestmark = pytest.mark.skipif(REAL, reason="of the simulation")

TEXT = {"source": "bundled:python-docs", "split": "validation", "window": 64}
WEIGHTS = {"transforms": {"use": "weights"}, "budget": {"use": "weights", "removed": 0.45}}
TYPES = {"use": "types", "importance": False}
BLOCKS = {"use": "sublayers", "genes": "block"}
KINDS: dict[str, dict[str, Any]] = {
    "weights": WEIGHTS,
    "weights, divergence": WEIGHTS | {"objective": "kl"},
    "types": {"objective": "kl", "transforms": TYPES, "budget": {"use": "bits_per_weight", "at_most": 5.0}},
    "structure": {"transforms": BLOCKS, "budget": {"use": "parameters", "removed": 0.25}},
    "joint": {"transforms": [BLOCKS, TYPES], "budget": {"use": "bytes", "at_most": 1_600_000}},
}
TABLE = {  # launches, synchronisations, bytes to the device, bytes from it
    "weights": (214, 2, 0, 5),
    "weights, divergence": (236, 2, 0, 17),
    "types": (222, 38, 13_783_040, 17),  # values of matrices whose type changed: ggml makes them on the CPU
    "structure": (117, 2, 0, 5),
    "joint": (132, 18, 7_229_440, 5),
}


def candidate(problem: LanguageModel, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [float(rng.randint(0, len(g.levels) - 1)) if g.levels else rng.uniform(0.1, 0.5) for g in problem.genes]


def counted(settings: dict[str, Any]) -> tuple[int, ...]:
    """The counts of a candidate after another one; the bytes of types of both were made before."""
    given = settings | {"device": "cuda", "dtype": "float32", "reuse_mib": 0, "batch_tokens": 4096}
    problem = LanguageModel(validated(LanguageModel.Settings, given, "problem"))
    for seed in (1, 2):
        problem.evaluate(candidate(problem, seed))
    counts.clear()
    problem.evaluate(candidate(problem, 1))
    return tuple(counts[key] for key in ("launches", "synchronisations", "bytes to", "bytes from"))


@pytest.mark.parametrize("kind", KINDS)
def test_counts_of_a_candidate_of_the_bundled_model(kind):
    texts = {"search_text": TEXT | {"windows": 4}, "calibration_text": TEXT | {"windows": 2}}
    assert counted({"model": "bundled:gpt2-mini", **texts, **KINDS[kind]}) == TABLE[kind]
