import pytest

from evoprune import Gene
from evoprune.operators.moves import another_level


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [(1.0, -5.0, 0.0), (1.0, 0.9, 0.0), (1.0, 1.2, 2.0), (1.0, 3.4, 3.0), (0.0, -0.1, 1.0), (3.0, 9.0, 2.0)],
)
def test_another_level_is_never_the_old_one_and_lies_on_the_side_of_the_new_value(old, new, found):
    assert another_level(Gene.of_levels("a", range(4)), old, new) == found
    assert another_level(Gene.of_levels("fixed", [5]), 0.0, new) == 0.0
