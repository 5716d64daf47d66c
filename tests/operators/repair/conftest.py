"""Random repairs to do."""

from __future__ import annotations

import random

import pytest

from evoprune import Additive, Genes


@pytest.fixture
def problems():
    """Pairs of a genome and the repair's keyword arguments; genes lie within [0, 1] or a little outside."""
    rng = random.Random(1)
    found = []
    for _ in range(100):
        size = rng.randint(2, 8)
        weights = [rng.choice([1.0, rng.uniform(0.1, 10)]) for _ in range(size)]
        space = Genes.real([str(place) for place in range(size)], 0.0, 1.0)
        genes = [rng.uniform(-0.2, 1.2) for _ in range(size)]
        prices = [-weight for weight in weights]
        budget = Additive.at_share(space, prices, -rng.uniform(0.05, 0.95), fixed=sum(weights))
        found.append((genes, {"genes": space, "budget": budget}))
    return found
