"""The budgets in weights and in parameters, against those that are counted."""

import pytest

from problems.budgets.amounts import parameters, unlimited_weights, weights
from problems.models.blocks import count_zeros


@pytest.mark.parametrize("genes", ["block", "matrix", "kind", "block_and_kind"])
def test_the_spent_weights_are_those_that_are_left(pruning, genes):
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
    assert unlimited_weights(transform).limit is None


def test_the_excess_is_the_mean_of_the_genes_less_the_share_that_goes(session):
    """Exactly, and not but for rounding."""
    genome, sizes = [0.1, 0.35, 0.8], [group.size for group in session.transform.groups]
    mean = sum(gene * size for gene, size in zip(genome, sizes, strict=True)) / sum(sizes)
    assert weights(session.transform, removed=0.45).excess(genome) == pytest.approx(0.45 - mean, abs=1e-15)


def test_parameters_are_limited_to_a_share_of_the_blocks_whatever_was_applied_before(language_model):
    transform = language_model(transforms={"use": "sublayers", "genes": "block"}).session.transform
    budget = parameters(transform, removed=0.5)
    assert budget.excess([1.0, 1.0, 0.0]) < 0 < budget.excess([1.0, 0.0, 0.0])
    transform.apply([1.0, 0.0, 1.0])
    assert parameters(transform, removed=0.5).limit == budget.limit
    left = sum(parameter.numel() for parameter in transform.resident.model.parameters())
    assert budget.spent([1.0, 0.0, 1.0]) == left
