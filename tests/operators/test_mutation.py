"""Gaussian mutation; tests/operators/test_exchange.py has the level switch."""

import random
from collections import Counter
from dataclasses import replace
from statistics import mean, stdev

import pytest

from evoprune import Gene, Genes, Individual
from evoprune.operators.mutation.gaussian import gaussian
from evoprune.operators.mutation.levels import levels

SIZE = 4000


def mutated(**parameters):
    random.seed(1)
    genes = Genes.real([str(place) for place in range(SIZE)], -100.0, 100.0, scale=1.0)
    return gaussian(Individual([0.5] * SIZE), genes=genes, **parameters)[0]


def test_no_gene_changes_by_more_than_limit():
    assert max(abs(gene - 0.5) for gene in mutated(sigma=5.0, limit=0.1, indpb=1.0)) <= 0.1 + 1e-12


def test_changes_have_the_standard_deviation_sigma():
    changes = [gene - 0.5 for gene in mutated(sigma=0.2, limit=50.0, indpb=1.0)]
    assert stdev(changes) == pytest.approx(0.2, rel=0.05)
    assert mean(changes) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("indpb", [0.0, 0.3, 1.0])
def test_indpb_is_the_share_of_genes_that_change(indpb):
    changed = sum(gene != 0.5 for gene in mutated(indpb=indpb))
    assert changed / SIZE == pytest.approx(indpb, abs=0.03)


def test_a_gene_with_levels_that_is_drawn_moves_to_another_level_however_small_the_noise():
    random.seed(1)
    genes = Genes([Gene.of_levels(str(place), range(2 + place % 5)) for place in range(200)])
    start = genes.random()
    (child,) = gaussian(Individual(start), genes=genes, sigma=1e-6, limit=0.1, indpb=1.0)
    assert genes.allow(child)
    assert all(abs(new - old) >= 1 for new, old in zip(child, start, strict=True))


def moved(gene, start, **parameters):
    random.seed(1)
    genes = Genes([replace(gene, name=str(place)) for place in range(SIZE)])
    return genes, levels(Individual([start] * SIZE), genes=genes, **parameters)[0]


@pytest.mark.parametrize("start", [0.0, 3.0, 9.0])
def test_levels_in_an_order_move_to_all_others_and_the_nearer_the_more_often(start):
    genes, child = moved(Gene.integer("n", 0, 9), start, indpb=1.0)
    counts = Counter(child)
    assert genes.allow(child)
    assert {*counts} == {float(level) for level in range(10)} - {start}
    up = [counts[start + step] for step in (1, 2, 4) if start + step <= 9]
    assert up == sorted(up, reverse=True)


def test_levels_without_an_order_are_equally_likely():
    _, child = moved(Gene.choice("kind", "abcde"), 2.0, indpb=1.0)
    counts = Counter(child)
    assert {*counts} == {0.0, 1.0, 3.0, 4.0}
    assert min(counts.values()) > 0.22 * SIZE


def test_one_level_changes_on_average_by_default():
    changed = []
    random.seed(1)
    genes = Genes([Gene.integer(str(place), 0, 1) for place in range(50)])
    for _ in range(2000):
        changed.append(sum(levels(Individual([0.0] * 50), genes=genes)[0]))
    assert mean(changed) == pytest.approx(1.0, abs=0.1)
