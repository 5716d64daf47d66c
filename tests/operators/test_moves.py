import pytest

from evoprune import Gene, Individual
from evoprune.operators.moves import another_level, clip_genes


def test_clip_genes_works_in_place_with_bounds_of_their_own():
    individual = Individual([-1.0, 5.0, 5.0])
    assert clip_genes(individual, [0.0, 0.0, 6.0], [1.0, 2.0, 7.0]) is individual
    assert individual == [0.0, 2.0, 6.0]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [(1.0, -5.0, 0.0), (1.0, 0.9, 0.0), (1.0, 1.2, 2.0), (1.0, 3.4, 3.0), (0.0, -0.1, 1.0), (3.0, 9.0, 2.0)],
)
def test_another_level_is_never_the_old_one_and_lies_on_the_side_of_the_new_value(old, new, found):
    assert another_level(Gene.of_levels("a", range(4)), old, new) == found
    assert another_level(Gene.of_levels("fixed", [5]), 0.0, new) == 0.0
