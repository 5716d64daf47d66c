"""Random repairs to do."""

from __future__ import annotations

import random

import pytest


@pytest.fixture
def problems():
    """Pairs of a genome and the repair's keyword arguments; genes lie within [0, 1] or a little outside."""
    rng = random.Random(1)
    found = []
    for _ in range(100):
        size = rng.randint(2, 8)
        weights = [rng.choice([1.0, rng.uniform(0.1, 10)]) for _ in range(size)]
        bounds = {"low": [0.0] * size, "up": [1.0] * size}
        genes = [rng.uniform(-0.2, 1.2) for _ in range(size)]
        found.append((genes, {**bounds, "weights": weights, "target": rng.uniform(0.05, 0.95)}))
    return found
