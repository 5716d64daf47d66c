import math
import random

import pytest

from evoprune import Individual
from operators.repair.project import project
from operators.repair.scale import scale
from operators.repair.shift import shift


def test_the_optimality_conditions_hold(problems):
    """Karush, Kuhn and Tucker: one multiplier moves all free genes, and pushes the others at their bound."""
    for genes, budget in problems:
        (found,) = project(Individual(genes), **budget)
        pushes = [(new - old) / w for old, new, w in zip(genes, found, budget["budget"].weights, strict=True)]
        free = [push for push, gene in zip(pushes, found, strict=True) if 1e-9 < gene < 1 - 1e-9]
        assert free, "the problems leave some gene free"
        assert free == pytest.approx([free[0]] * len(free), abs=1e-9)
        for push, gene in zip(pushes, found, strict=True):
            assert push >= free[0] - 1e-9 or gene > 1e-9
            assert push <= free[0] + 1e-9 or gene < 1 - 1e-9


@pytest.mark.parametrize("other", [shift, scale])
def test_nothing_feasible_is_nearer(problems, other):
    rng = random.Random(2)
    for genes, budget in problems:
        (nearest,) = project(Individual(genes), **budget)
        for start in [genes, *([rng.random() for _ in genes] for _ in range(20))]:
            (feasible,) = other(Individual(start), **budget)
            assert math.dist(genes, nearest) <= math.dist(genes, feasible) + 1e-9
