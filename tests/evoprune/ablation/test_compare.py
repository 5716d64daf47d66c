import random
from itertools import product

import pytest
from scipy.stats import rankdata

from evoprune.ablation.results import compare


def exact_p(first, other):
    """Signed ranks by counting every choice of signs of the differences; those of 0 are left out."""
    differences = [b - a for a, b in zip(first, other, strict=True) if a != b]
    ranks = rankdata([abs(one) for one in differences])
    seen = sum(rank for rank, one in zip(ranks, differences, strict=True) if one > 0)
    every = [sum(rank for rank, up in zip(ranks, ups, strict=True) if up) for ups in product((0, 1), repeat=len(ranks))]
    return min(1.0, 2 * min(sum(each <= seen for each in every), sum(each >= seen for each in every)) / len(every))


@pytest.mark.parametrize("digits", [9, 1])
def test_p_is_that_of_the_exact_test_of_pairs(digits):
    """With ties where there is one digit."""
    rng = random.Random(0)
    for _ in range(5):
        first, other = ([round(rng.random() + shift, digits) for _ in range(6)] for shift in (0.0, 0.4))
        row = compare({"a": first, "b": other})[1]
        assert row.p == pytest.approx(exact_p(first, other))
        assert row.range == (min(other), max(other))
    assert compare({"a": [1.0, 2.0], "b": [1.0, 2.0]})[1].p == 1
    assert compare({"a": [1.0], "b": [2.0]})[1].p == 1


def test_the_range_has_the_coverage_that_it_says():
    rng = random.Random(1)
    draws = [[rng.expovariate(1.0) for _ in range(4)] for _ in range(4000)]
    inside = sum(min(values) <= 0.6931 <= max(values) for values in draws) / len(draws)  # the median is ln 2
    assert compare({"a": draws[0]})[0].coverage == pytest.approx(inside, abs=0.02)


def test_of_several_variants_p_is_corrected_from_the_least_on():
    """By Holm's definition: the least of three is multiplied by 3, the next by 2, and none falls below one before."""
    others = {"apart": [11, 13, 15, 17, 19], "near": [3, 5, 2, 8, 10], "same": [1.5, 1.2, 3.9, 4.7, 4.4]}
    first, *rows = compare({"first": [1, 2, 3, 4, 5]} | others)
    assert first.p is None
    raw = [exact_p([1, 2, 3, 4, 5], values) for values in others.values()]
    assert raw == sorted(raw)
    assert [row.p for row in rows] == pytest.approx([3 * raw[0], max(3 * raw[0], 2 * raw[1]), max(2 * raw[1], raw[2])])
