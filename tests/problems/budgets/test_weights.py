"""The budget in weights, against weights that are counted."""

import pytest

from problems.budgets.weights import unlimited_weights, weights
from problems.models.blocks import count_zeros


@pytest.mark.parametrize("genes", ["block", "matrix", "kind", "block_and_kind"])
def test_what_is_spent_is_the_weights_that_are_left(pruning, genes):
    transform = pruning(genes=genes).session.transform
    budget = weights(transform, removed=0.4)
    matrices = transform.resident.matrices
    genome = transform.meaning.uniform(0.4)
    transform.apply(genome)
    total = sum(matrix.size for matrix in matrices)
    assert budget.spent(genome) == pytest.approx(total - count_zeros(matrices), abs=1e-4 * total)
    assert budget.spent(transform.dense) == total
    assert budget.limit == pytest.approx(0.6 * total)
    assert budget.kept(genome)


def test_the_excess_is_the_mean_of_the_genes_less_the_share_that_goes(session):
    """Exactly, and not but for rounding."""
    genome, sizes = [0.1, 0.35, 0.8], [group.size for group in session.transform.groups]
    mean = sum(gene * size for gene, size in zip(genome, sizes, strict=True)) / sum(sizes)
    assert weights(session.transform, removed=0.45).excess(genome) == pytest.approx(0.45 - mean, abs=1e-15)


def test_without_a_share_it_counts_and_limits_nothing(session):
    budget = unlimited_weights(session.transform)
    assert budget.limit is None
    assert budget.spent([0.0] * 3) > budget.spent([0.5] * 3)
    with pytest.raises(ValueError, match="no limit"):
        budget.excess([0.5] * 3)
