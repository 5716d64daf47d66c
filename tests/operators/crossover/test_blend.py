import random

import pytest

from evoprune import Individual
from operators.crossover.blend import blend

SIZE = 500


def crossed(alpha, bound=100.0):
    random.seed(1)
    first = [random.uniform(-1, 1) for _ in range(SIZE)]
    second = [random.uniform(-1, 1) for _ in range(SIZE)]
    children = blend(Individual(first), Individual(second), low=[-bound] * SIZE, up=[bound] * SIZE, alpha=alpha)
    return first, second, *children


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_children_lie_in_the_widened_interval_and_fill_it(alpha):
    shares = []
    for a, b, *genes in zip(*crossed(alpha), strict=True):
        low, up, width = min(a, b), max(a, b), abs(a - b)
        assert all(low - alpha * width - 1e-12 <= gene <= up + alpha * width + 1e-12 for gene in genes)
        shares += [(gene - low) / width for gene in genes]
    assert min(shares) == pytest.approx(-alpha, abs=0.05)
    assert max(shares) == pytest.approx(1 + alpha, abs=0.05)


def test_children_lie_symmetrically_about_their_parents():
    for a, b, x, y in zip(*crossed(0.5), strict=True):
        assert x + y == pytest.approx(a + b)


def test_children_are_clipped():
    *_, first, second = crossed(2.0, bound=1.0)
    assert max(map(abs, [*first, *second])) == 1.0
