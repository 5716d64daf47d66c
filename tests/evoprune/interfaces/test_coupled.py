"""A budget in which what genes spend depends on others."""

import math
import random
from itertools import product

import numpy
import pytest

from evoprune import Coupled, Gene, Genes, Term
from evoprune.testing import check_budget

GENES = Genes([Gene.of_levels("kept", range(2)), Gene.of_levels("width", range(3)), Gene.of_levels("type", "abcd")])


def terms():
    """A matrix of some width and type, which is there or not; and a norm, which is there or not."""
    sizes = [[[kept * width * bits for bits in (16.0, 8.0, 5.0, 4.0)] for width in (12, 7, 1)] for kept in (1, 0)]
    return [Term((0, 1, 2), numpy.array(sizes)), Term((0,), numpy.array([3.0, 0.0])), Term((), numpy.array(2.0))]


def beside(levels):
    """Falls with both of the genes that decide."""
    return 1.0 - 0.1 * levels[0] - 0.2 * levels[1]


def slowly(genome):
    """Each corner of the levels around ``genome``, by how near it is; what is beside is linear here."""
    total = 2.0 + beside([math.floor(value) for value in genome])
    above = sum(math.ceil(value) - math.floor(value) for value in genome[:2])
    rest = beside([math.ceil(value) for value in genome]) - beside([math.floor(value) for value in genome])
    total += rest * sum(value % 1 for value in genome[:2]) / (above or 1)
    for corner in product(*[{math.floor(value), math.ceil(value)} for value in genome]):
        near = math.prod(1 - abs(value - at) for value, at in zip(genome, corner, strict=True))
        total += near * (terms()[0].table[corner] + terms()[1].table[corner[0]])
    return total


def test_the_laws_of_budgets():
    check_budget(Coupled(GENES, terms(), 60.0, "bytes", beside, 2))
    check_budget(Coupled(GENES, terms(), None))


def test_between_levels_each_corner_counts_by_how_near_it_is():
    budget, rng = Coupled(GENES, terms(), None, "bytes", beside, 2), random.Random(0)
    for _ in range(100):
        genome = [rng.uniform(0, gene.up) for gene in GENES]
        assert budget.spent(genome) == pytest.approx(slowly(genome), rel=1e-12)


def test_a_table_without_an_entry_for_each_level_is_refused():
    with pytest.raises(ValueError, match=r"an entry for each level of width, type, got the shape \(3, 3\)"):
        Coupled(GENES, [Term((1, 2), numpy.zeros((3, 3)))], None)
