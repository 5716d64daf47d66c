"""The Erdos-Renyi allocation."""

from __future__ import annotations

from evoprune import Budget
from problems.allocations.fitting import Loss, fit
from problems.transforms.weights.genes import Group
from problems.transforms.weights.transform import Weights


def erdos_renyi(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Keep weights in proportion to the sum of a matrix's sides, so that larger ones lose more.

    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
    network science", Nature Communications 2018: density is in proportion to (n_in + n_out) / (n_in n_out). A group's
    density is that of its matrices together: if all groups have the same shapes, this is uniform.
    """
    densities = [_density(group) for group in cut.groups]
    most = 1 / min(densities)
    return fit(budget, lambda scale: [1 + scale * density for density in densities], -most, 0.0)


def _density(group: Group) -> float:
    return sum(sum(matrix.weight.shape) for matrix in group.matrices) / group.size
