"""The Erdos-Renyi allocation."""

from __future__ import annotations

from problems.pruning.allocations.budget import fit
from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.masking.groups import Group


def erdos_renyi(evaluator: Evaluator) -> list[float]:
    """A matrix keeps weights in proportion to the sum of its sides, so that larger ones lose more.

    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science", Nature Communications 2018: density is in
    proportion to (n_in + n_out) / (n_in n_out). A group's density is that of its matrices
    together: where all groups are alike, this is uniform.
    """
    densities = [_density(group) for group in evaluator.groups]
    most = 1 / min(densities)
    return fit(evaluator, lambda scale: [1 + scale * density for density in densities], -most, 0.0)


def _density(group: Group) -> float:
    """In proportion: the sum of the sides of the matrices by their weights."""
    return sum(sum(matrix.weight.shape) for matrix in group.matrices) / group.size
