import random

import pytest

from evoprune import Individual
from evoprune.operators.crossover.blend import blend
from evoprune.operators.crossover.uniform import uniform

SIZE = 500


def blended(alpha, bound=100.0):
    random.seed(1)
    first, second = ([random.uniform(-1, 1) for _ in range(SIZE)] for _ in range(2))
    children = blend(Individual(first), Individual(second), low=[-bound] * SIZE, up=[bound] * SIZE, alpha=alpha)
    return first, second, *children


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_children_of_blend_fill_the_widened_interval_symmetrically(alpha):
    shares = []
    for a, b, x, y in zip(*blended(alpha), strict=True):
        assert x + y == pytest.approx(a + b)
        shares += [(gene - min(a, b)) / abs(a - b) for gene in (x, y)]
    assert -alpha - 1e-9 <= min(shares) == pytest.approx(-alpha, abs=0.05)
    assert 1 + alpha + 1e-9 >= max(shares) == pytest.approx(1 + alpha, abs=0.05)


@pytest.mark.parametrize("indpb", [0.0, 0.2, 1.0])
def test_indpb_is_the_share_of_genes_that_uniform_exchanges(indpb):
    random.seed(1)
    first, second = uniform(Individual([0.0] * 4000), Individual([1.0] * 4000), indpb=indpb)
    assert [a + b for a, b in zip(first, second, strict=True)] == [1.0] * 4000
    assert sum(first) / 4000 == pytest.approx(indpb, abs=0.03)
