import numpy
import pytest

from problems.texts.windows import order

KINDS, EACH, LENGTH = 4, 6, 40


@pytest.fixture
def tokens():
    """Windows of four kinds, shuffled: each kind has words of its own. Window n is of kind ``n % KINDS``."""
    draw = numpy.random.default_rng(0)
    return numpy.stack([draw.integers(100 * (n % KINDS), 100 * (n % KINDS) + 20, LENGTH) for n in range(KINDS * EACH)])


@pytest.mark.parametrize("sampling", ["first", "random", "clusters"])
def test_every_window_comes_once_and_the_seed_decides(tokens, sampling):
    found = order(tokens, 5, sampling, seed=1)
    assert sorted(found) == list(range(len(tokens)))
    assert order(tokens, 5, sampling, seed=1) == found


def test_more_random_windows_hold_the_fewer(tokens):
    assert order(tokens, 9, "random", 1)[:5] == order(tokens, 5, "random", 1)[:5]
    assert order(tokens, 9, "random", 1) != order(tokens, 9, "random", 2)


def test_clusters_take_one_window_of_each_kind(tokens):
    """From a start with a window of each; from others, k-means may keep two centres in a kind."""
    seed = next(s for s in range(100) if len({w % KINDS for w in order(tokens, KINDS, "random", s)[:KINDS]}) == KINDS)
    assert {window % KINDS for window in order(tokens, KINDS, "clusters", seed)[:KINDS]} == set(range(KINDS))


def test_windows_that_are_all_alike_are_still_told_apart():
    assert sorted(order(numpy.zeros((6, 8), dtype=numpy.int64), 3, "clusters", 0)) == list(range(6))
