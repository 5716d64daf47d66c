import random

import pytest

from evoprune import Individual
from operators.mutation.exchange import exchange

LOW, UP, WEIGHTS = [0.0] * 6, [0.9] * 6, [1.0, 2.0, 50.0, 3.0, 0.0, 7.0]


def children(genes, trials=300, **parameters):
    random.seed(0)
    for _ in range(trials):
        (child,) = exchange(Individual(genes), low=LOW, up=UP, weights=WEIGHTS, **parameters)
        yield child


def total(genes):
    return sum(gene * weight for gene, weight in zip(genes, WEIGHTS, strict=True))


def test_the_weighted_sum_is_kept_whatever_the_weights():
    genes = [0.1, 0.8, 0.45, 0.0, 0.3, 0.9]
    for child in children(genes, step=0.5):
        assert total(child) == pytest.approx(total(genes), abs=1e-12)
        assert child[4] == genes[4]  # governs nothing


def test_one_move_changes_two_genes_by_at_most_the_step():
    genes, average = [0.45] * 6, sum(WEIGHTS) / 5
    for child in children(genes, moves=1, step=0.02):
        changes = [(new - old) * weight for new, old, weight in zip(child, genes, WEIGHTS, strict=True)]
        assert sum(change != 0 for change in changes) == 2
        assert max(changes) <= 0.02 * average


def test_few_moves_are_likelier_than_many():
    counts = [sum(gene != 0.45 for gene in child) for child in children([0.45] * 6, moves=3, step=0.01)]
    assert counts.count(2) > len(counts) / 3
    assert max(counts) > 2


def test_a_single_free_gene_has_nothing_to_exchange_with():
    (child,) = exchange(Individual([0.4, 0.5]), low=[0, 0.5], up=[1, 0.5], weights=[1, 1])
    assert child == [0.4, 0.5]
