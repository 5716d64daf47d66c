import random
from itertools import combinations

import pytest

from evoprune.ablation.results import compare, holm, in_words, least_possible_p


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


def test_p_is_that_of_the_exact_rank_test():
    rng = random.Random(0)
    for digits in (9, 1):  # ties with one
        for _ in range(5):
            first, other = ([round(rng.random() + shift, digits) for _ in range(5)] for shift in (0.0, 0.4))
            assert compare({"a": first, "b": other})[1].p == pytest.approx(exact_p(first, other))


def test_no_p_falls_below_the_least_possible():
    for first, other in (([1, 1, 1], [2, 2, 2]), ([1, 1, 2], [3, 3, 3]), ([1, 2, 3], [4, 5, 6])):
        assert compare({"a": first, "b": other})[1].p == pytest.approx(least_possible_p(3, 2))


def test_holm_by_its_definition():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_an_interval_holds_the_median_and_shrinks_with_more_seeds():
    rng = random.Random(0)
    few, many = ([rng.gauss(0, 1) for _ in range(count)] for count in (6, 200))
    rows = compare({"few": few, "many": many})
    for row in rows:
        assert row.interval[0] <= row.median <= row.interval[1]
    assert rows[1].interval[1] - rows[1].interval[0] < (rows[0].interval[1] - rows[0].interval[0]) / 2


def test_it_is_told_what_differs_and_when_none_could():
    apart = compare({"a": [1, 2, 3, 4, 5], "b": [11, 12, 13, 14, 15], "c": [1.5, 2.5, 3.5, 4.5, 5.5]})
    assert [row.differs for row in apart] == [False, True, False]
    assert "too few" in in_words(compare({"a": [1, 2, 3], "b": [4, 5, 6]}), 3)
