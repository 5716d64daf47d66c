"""Selection and survival."""

import random
from collections import Counter

import pytest

from evoprune import Individual
from evoprune.operators.selection.tournament import tournament
from evoprune.operators.selection.truncation import truncation
from evoprune.operators.survival.distinct import distinct
from evoprune.operators.survival.elitist import elitist

both_ways = pytest.mark.parametrize("weight", [-1.0, 1.0])


def scored(values, weight=-1.0):
    """A population with these fitness values; the one gene is the place in it."""
    population = [Individual([float(place)], (weight,)) for place in range(len(values))]
    for individual, value in zip(population, values, strict=True):
        individual.fitness.values = (value,)
    return population


def shares(select, individuals, **parameters):
    """How often each of ``individuals`` is drawn."""
    random.seed(1)
    drawn = Counter(int(one[0]) for one in select(individuals, 8000, **parameters))
    return [drawn[place] / 8000 for place in range(len(individuals))]


@both_ways
@pytest.mark.parametrize("tournsize", [1, 2, 5])
def test_the_best_wins_a_tournament_as_often_as_it_enters(weight, tournsize):
    individuals = scored([-weight * value for value in (1.0, 2.0, 3.0, 4.0)], weight)
    found = shares(tournament, individuals, tournsize=tournsize)
    assert found[3] == pytest.approx((1 / 4) ** tournsize, abs=0.02)
    assert found[0] == pytest.approx(1 - (3 / 4) ** tournsize, abs=0.02)


@pytest.mark.parametrize(("fraction", "breeders"), [(0.1, 2), (0.5, 5), (1.0, 10)])
def test_truncation_draws_two_different_parents_from_all_of_the_best_fraction(fraction, breeders):
    random.seed(1)
    individuals = scored([float(value) for value in range(10)])
    random.shuffle(individuals)
    pairs = [truncation(individuals, 2, fraction=fraction) for _ in range(300)]
    assert all(first is not second for first, second in pairs)
    assert {int(one[0]) for pair in pairs for one in pair} == set(range(breeders))


@both_ways
@pytest.mark.parametrize(("fraction", "kept"), [(0.01, 1), (0.3, 3), (0.9, 9)])
def test_the_best_fraction_survives_unchanged(weight, fraction, kept):
    individuals = scored([-weight * value for value in (5.0, 3.0, 9.0, 1.0, 7.0, 2.0, 8.0, 4.0, 6.0, 0.0)], weight)
    before = [list(one) for one in individuals]
    best = sorted(individuals, key=lambda one: -weight * one.fitness.values[0])[:kept]
    assert [id(one) for one in elitist(individuals, fraction=fraction)] == [id(one) for one in best]
    assert [list(one) for one in individuals] == before


def test_copies_do_not_survive_where_others_can():
    individuals = [*scored([1.0, 2.0, 3.0]), *scored([1.0]), *scored([1.0])]
    assert [list(one) for one in distinct(individuals, fraction=0.4)] == [[0.0], [1.0]]
    assert len(distinct(individuals[-2:], fraction=0.9)) == 1
