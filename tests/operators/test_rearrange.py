import random

import pytest

from evoprune import Individual
from evoprune.operators.mutation.rearrange import rearrange


def children(size, count):
    random.seed(1)
    return [rearrange(Individual(range(size)))[0] for _ in range(count)]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 20])
def test_a_child_is_a_permutation(size):
    assert all(sorted(child) == [*range(size)] for child in children(size, 300))


@pytest.mark.parametrize("size", [2, 3, 20])
def test_every_child_differs_from_its_parent(size):
    assert [*range(size)] not in children(size, 300)


def test_every_swap_reversal_and_move_of_one_gene_occurs():
    size, found = 5, {tuple(child) for child in children(5, 3000)}
    for one in range(size):
        for other in range(one):
            swapped, moved, reversed_ = [*range(size)], [*range(size)], [*range(size)]
            swapped[one], swapped[other] = other, one
            reversed_[other : one + 1] = reversed_[other : one + 1][::-1]
            moved.insert(other, moved.pop(one))
            assert {tuple(swapped), tuple(reversed_), tuple(moved)} <= found


def test_it_changes_the_individual_in_place():
    random.seed(1)
    individual = Individual(range(9))
    assert rearrange(individual)[0] is individual
