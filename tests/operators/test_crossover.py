import random

import pytest

from evoprune import Individual
from evoprune.operators.crossover.blend import blend
from evoprune.operators.crossover.simulated_binary import simulated_binary
from evoprune.operators.crossover.uniform import uniform

SIZE = 500
BOUNDS = {"low": [0.0] * SIZE, "up": [1.0] * SIZE}


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


def test_a_larger_eta_keeps_simulated_binary_children_nearer_to_their_parents():
    def distance(eta):
        random.seed(1)
        first, second = simulated_binary(Individual([0.3] * SIZE), Individual([0.6] * SIZE), **BOUNDS, eta=eta)
        return sum(min(abs(gene - 0.3), abs(gene - 0.6)) for gene in [*first, *second])

    assert distance(1.0) > 2 * distance(20.0) > 0


def test_simulated_binary_parents_outside_the_bounds_give_real_numbers_within():
    random.seed(1)
    children = simulated_binary(Individual([-3.0] * SIZE), Individual([0.5] * SIZE), **BOUNDS, eta=2.5)
    for child in children:
        assert all(isinstance(gene, float) and 0.0 <= gene <= 1.0 for gene in child)


@pytest.mark.parametrize("indpb", [0.0, 0.2, 1.0])
def test_indpb_is_the_share_of_genes_that_uniform_exchanges(indpb):
    random.seed(1)
    first, second = uniform(Individual([0.0] * 4000), Individual([1.0] * 4000), indpb=indpb)
    assert [a + b for a, b in zip(first, second, strict=True)] == [1.0] * 4000
    assert sum(first) / 4000 == pytest.approx(indpb, abs=0.03)
