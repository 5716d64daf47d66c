import random
from itertools import combinations

import pytest

from evoprune.ablation.results import compare


def exact_p(first, other):
    """Mann-Whitney by counting every way to deal the values out; a tie counts half."""

    def u(chosen, rest):
        return sum((a > b) + (a == b) / 2 for a in chosen for b in rest)

    everything = [*first, *other]
    seen = u(first, other)
    dealt = [
        u([everything[at] for at in hand], [v for at, v in enumerate(everything) if at not in hand])
        for hand in combinations(range(len(everything)), len(first))
    ]
    return min(1.0, 2 * min(sum(d <= seen for d in dealt), sum(d >= seen for d in dealt)) / len(dealt))


@pytest.mark.parametrize("digits", [9, 1])
def test_p_is_that_of_the_exact_rank_test(digits):
    """With ties where there is one digit."""
    rng = random.Random(0)
    for _ in range(5):
        first, other = ([round(rng.random() + shift, digits) for _ in range(5)] for shift in (0.0, 0.4))
        row = compare({"a": first, "b": other})[1]
        assert row.p == pytest.approx(exact_p(first, other))
        assert row.range == (min(other), max(other))


def test_of_several_variants_p_is_corrected_from_the_least_on():
    """By Holm's definition: the least of three is multiplied by 3, the next by 2, and none falls below one before."""
    others = {"apart": [11, 12, 13, 14, 15], "near": [3, 4, 5, 6, 7], "same": [1.5, 2.5, 3.5, 4.5, 5.5]}
    first, *rows = compare({"first": [1, 2, 3, 4, 5]} | others)
    assert first.p is None
    raw = [exact_p([1, 2, 3, 4, 5], values) for values in others.values()]
    assert raw == sorted(raw)
    assert [row.p for row in rows] == pytest.approx([3 * raw[0], max(3 * raw[0], 2 * raw[1]), max(2 * raw[1], raw[2])])
