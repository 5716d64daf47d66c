"""Allocations brought to a budget."""

import pytest

from evoprune import Additive, Genes
from problems.allocations.builtin import fit, shift

SIZES = [1.0, 2.0, 3.0]


@pytest.fixture
def budget():
    """Genes between 0.2 and 0.8 whose mean, counted by ``SIZES``, must be a half."""
    genes = Genes.real(["a", "b", "c"], 0.2, 0.8)
    return Additive.at_share(genes, [-size for size in SIZES], -0.5, fixed=sum(SIZES))


def mean(genome):
    return sum(gene * size for gene, size in zip(genome, SIZES, strict=True)) / sum(SIZES)


def test_the_scale_that_is_on_the_budget_is_found(budget):
    genome = fit(budget, lambda scale: [0.5 * scale, scale, scale], 0.0, 2.0)
    assert mean(genome) == pytest.approx(0.5, abs=1e-12)
    assert genome[1] == genome[2] == pytest.approx(2 * genome[0])
    genome = fit(budget, lambda scale: [scale, 0.0, 2 * scale], 0.0, 2.0)
    assert genome[1] == 0.2
    assert mean(genome) == pytest.approx(0.5, abs=1e-12)


def test_where_no_scale_is_on_the_budget_the_nearest_end_is_taken(budget):
    assert fit(budget, lambda scale: [scale] * 3, 0.2, 0.3) == pytest.approx([0.3] * 3)
    assert fit(budget, lambda scale: [scale] * 3, 0.6, 0.7) == pytest.approx([0.6] * 3)


def test_a_shift_moves_all_genes_alike_until_a_bound_holds_them(budget):
    genome = shift(budget, [-3.0, 0.1, 0.3])
    assert genome[0] == 0.2
    assert genome[2] - genome[1] == pytest.approx(0.2)
    assert mean(genome) == pytest.approx(0.5, abs=1e-12)
