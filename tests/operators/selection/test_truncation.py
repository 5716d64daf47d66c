import random

import pytest

from operators.selection.truncation import truncation


@pytest.mark.parametrize(("fraction", "breeders"), [(0.2, 2), (0.5, 5), (1.0, 10)])
def test_only_the_best_fraction_breeds_and_all_of_it(scored, fraction, breeders):
    random.seed(1)
    individuals = scored([float(value) for value in range(10)])
    random.shuffle(individuals)
    drawn = set()
    for _ in range(300):
        pair = truncation(individuals, 2, fraction=fraction)
        assert pair[0] is not pair[1]
        drawn |= {int(i[0]) for i in pair}
    assert drawn == set(range(breeders))


def test_two_parents_are_found_where_the_fraction_holds_fewer(scored):
    assert {i[0] for i in truncation(scored([3.0, 1.0, 2.0]), 2, fraction=0.1)} == {1.0, 2.0}
