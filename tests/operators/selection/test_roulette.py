import math
import random
from collections import Counter

import pytest

from operators.selection.roulette import roulette


def shares(individuals):
    random.seed(1)
    drawn = Counter(int(i[0]) for i in roulette(individuals, 8000))
    return [drawn[i] / 8000 for i in range(len(individuals))]


@pytest.mark.parametrize("weight", [-1.0, 1.0])
def test_chances_are_in_proportion_to_the_lead_over_the_worst(scored, weight):
    individuals = scored([-weight * value for value in (10.0, 9.0, 7.0)], weight)
    assert shares(individuals) == pytest.approx([0.0, 0.25, 0.75], abs=0.02)


def test_failed_ones_and_the_worst_are_never_drawn(scored):
    chances = shares(scored([math.inf, 5.0, 3.0, math.inf, -2.0]))
    assert chances[0] == chances[1] == chances[3] == 0
    assert chances[2] > 0
    assert chances[4] > 0


def test_failed_ones_are_not_drawn_where_the_others_are_equal(scored):
    assert shares(scored([math.inf, 2.0, 2.0])) == pytest.approx([0.0, 0.5, 0.5], abs=0.02)
    assert shares(scored([math.inf, 2.0])) == [0.0, 1.0]


@pytest.mark.parametrize("value", [4.0, math.inf])
def test_equals_have_equal_chances(scored, value):
    assert shares(scored([value] * 4)) == pytest.approx([0.25] * 4, abs=0.02)
