import random

import pytest

from evoprune import Individual
from operators.crossover.uniform import uniform


@pytest.mark.parametrize("indpb", [0.0, 0.2, 1.0])
def test_indpb_is_the_share_of_genes_that_change_places(indpb):
    random.seed(1)
    first, second = uniform(Individual([0.0] * 4000), Individual([1.0] * 4000), indpb=indpb)
    assert [a + b for a, b in zip(first, second, strict=True)] == [1.0] * 4000
    assert sum(first) / 4000 == pytest.approx(indpb, abs=0.03)
