import random

from evoprune import Individual
from operators.crossover.simulated_binary import simulated_binary

SIZE = 500
BOUNDS = {"low": [0.0] * SIZE, "up": [1.0] * SIZE}


def distance(eta):
    random.seed(1)
    first, second = simulated_binary(Individual([0.3] * SIZE), Individual([0.6] * SIZE), **BOUNDS, eta=eta)
    return sum(min(abs(gene - 0.3), abs(gene - 0.6)) for gene in [*first, *second])


def test_a_larger_eta_keeps_children_nearer_to_their_parents():
    assert distance(1.0) > 2 * distance(20.0) > 0


def test_equal_parents_have_their_own_children():
    parent = [0.4] * SIZE
    assert simulated_binary(Individual(parent), Individual(parent), **BOUNDS) == (parent, parent)


def test_parents_outside_the_bounds_give_real_numbers_within():
    random.seed(1)
    children = simulated_binary(Individual([-3.0] * SIZE), Individual([0.5] * SIZE), **BOUNDS, eta=2.5)
    for child in children:
        assert all(isinstance(gene, float) and 0.0 <= gene <= 1.0 for gene in child)
