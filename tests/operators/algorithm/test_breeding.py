"""What the algorithms share."""

import itertools
import math

import pytest

from evoprune.operators.algorithm.breeding import losses


@pytest.mark.parametrize(
    "costs",
    [
        [3.0, 0.01, 20.0, math.inf],
        [3.0, 0.01, -0.5, 0.0, math.inf],
        [-3.0, -0.2, -0.1],
        [1e9, -1.0, math.inf],
        [math.inf, math.inf],
    ],
    ids=["positive", "crossing zero", "negative", "large", "all failed"],
)
def test_losses_keep_the_order_of_costs(costs):
    found = losses(costs)
    assert all(map(math.isfinite, found))
    for (less, lower), (more, higher) in itertools.permutations(zip(costs, found, strict=True), 2):
        if less < more:
            assert lower < higher or (lower == higher and math.isinf(more))


def test_an_equal_ratio_of_perplexities_is_an_equal_difference_of_losses():
    first, second, third, fourth = losses([10.0, 20.0, 300.0, 600.0])
    assert second - first == pytest.approx(fourth - third)
