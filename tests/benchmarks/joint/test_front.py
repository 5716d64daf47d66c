"""The area that a front covers."""

import math

import pytest

from evoprune.fronts.points import Front, Point
from tests.benchmarks.joint.front import covered, table


def counted(places, low, high, worst, strips=2000):
    """The same area as a sum over narrow strips."""
    width = (high - low) / strips
    total = 0.0
    for number in range(strips):
        at = low + (number + 0.5) * width
        best = min([worst, *(divergence for size, divergence in places if size <= at)])
        total += width * math.log10(worst / best)
    return total


@pytest.mark.parametrize(
    "places", [[], [(1.0, 0.1)], [(1.2, 20.0)], [(1.5, 1.0), (2.0, 0.1), (2.5, 0.5), (0.5, 5.0), (4.0, 0.01)]]
)
def test_it_is_the_sum_of_narrow_strips(places):
    assert covered(places, 1.0, 3.0, 10.0) == pytest.approx(counted(places, 1.0, 3.0, 10.0), abs=1e-2)


def test_regions_add_up():
    places = [(1.2, 1.0), (2.1, 0.2), (2.4, 0.1)]
    parts = covered(places, 1.0, 2.0, 10.0) + covered(places, 2.0, 3.0, 10.0)
    assert parts == pytest.approx(covered(places, 1.0, 3.0, 10.0))


def test_the_better_side_is_told_for_each_region():
    found = [("joint", 1.0, 0.5), ("joint", 2.0, 0.2), ("types", 2.0, 0.1), ("presets", 1.0, 0.001)]
    points = [Point(family, family, {"bytes": 1e6 * size, "divergence": kl}) for family, size, kl in found]
    text = table([Front({}, "", points, [])], (["joint"], ["types", "cuts"]), [1.0, 2.0, 3.0], 10.0)
    first, second, _ = text.splitlines()[2:]
    assert first.endswith("| 1 of 1 |")
    assert second.endswith("| 0 of 1 |")
