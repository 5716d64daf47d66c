"""Gaussian and polynomial mutation; tests/operators/test_exchange.py has the level switch."""

import random
from statistics import mean, stdev

import pytest

from evoprune import Gene, Genes, Individual
from evoprune.operators.mutation.gaussian import gaussian
from evoprune.operators.mutation.polynomial import polynomial

SIZE = 4000
both = pytest.mark.parametrize("mutate", [gaussian, polynomial])


def mutated(mutate, start=0.5, bound=100.0, **parameters):
    random.seed(1)
    genes = Genes.real([str(place) for place in range(SIZE)], -bound, bound)
    return mutate(Individual([start] * SIZE), genes=genes, **parameters)[0]


def test_no_gene_changes_by_more_than_limit():
    assert max(abs(gene - 0.5) for gene in mutated(gaussian, sigma=5.0, limit=0.1, indpb=1.0)) <= 0.1 + 1e-12


def test_changes_have_the_standard_deviation_sigma():
    changes = [gene - 0.5 for gene in mutated(gaussian, sigma=0.2, limit=50.0, indpb=1.0)]
    assert stdev(changes) == pytest.approx(0.2, rel=0.05)
    assert mean(changes) == pytest.approx(0.0, abs=0.02)


def test_a_larger_eta_makes_smaller_changes():
    one, twenty = (
        sum(abs(gene - 0.5) for gene in mutated(polynomial, eta=eta, bound=1.0, indpb=1.0)) for eta in (1.0, 20.0)
    )
    assert one > 2 * twenty > 0


@both
@pytest.mark.parametrize("indpb", [0.0, 0.3, 1.0])
def test_indpb_is_the_share_of_genes_that_change(mutate, indpb):
    changed = sum(gene != 0.5 for gene in mutated(mutate, indpb=indpb))
    assert changed / SIZE == pytest.approx(indpb, abs=0.03)


@pytest.mark.parametrize("start", [-3.0, 4.0])
def test_polynomial_gives_real_numbers_within_the_bounds_for_parents_outside(start):
    child = mutated(polynomial, start, bound=1.0, eta=2.5, indpb=1.0)
    assert all(isinstance(gene, float) and -1.0 <= gene <= 1.0 for gene in child)


@pytest.mark.parametrize(("mutate", "parameters"), [(gaussian, {"sigma": 1e-6, "limit": 0.1}), (polynomial, {})])
def test_a_gene_with_levels_that_is_drawn_moves_to_another_level_however_small_the_noise(mutate, parameters):
    random.seed(1)
    genes = Genes([Gene.of_levels(str(place), range(2 + place % 5)) for place in range(200)])
    start = genes.random()
    (child,) = mutate(Individual(start), genes=genes, **parameters, indpb=1.0)
    assert genes.allow(child)
    assert all(abs(new - old) >= 1 for new, old in zip(child, start, strict=True))
