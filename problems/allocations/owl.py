"""Outlier-weighed layerwise sparsity."""

from __future__ import annotations

import torch

from evoprune import Budget
from problems.allocations.fitting import Loss, shift
from problems.calibration.activations import INPUT_NORMS
from problems.scores.wanda import wanda
from problems.transforms.weights.genes import Group
from problems.transforms.weights.transform import Weights

_OUTLIER = 5.0  # times the mean score of its group: the paper's M
_REACH = 0.08  # half of the range of sparsities: the paper's lambda


def owl(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Give groups with a larger share of outliers among their Wanda scores a lower sparsity.

    Yin et al., "Outlier Weighed Layerwise Sparsity (OWL): A Missing Secret Sauce for Pruning LLMs to High Sparsity",
    ICML 2024: S_i falls with the share D_i of outliers. Shares are scaled to a range of twice lambda as in the authors'
    code. A group takes the place of the paper's transformer block.
    """
    norms = {matrix.name: known[INPUT_NORMS] for matrix, known in cut.statistics({INPUT_NORMS})}
    shares = [_outliers(group, norms) for group in cut.groups]
    spread = max(shares) - min(shares)
    scale = 2 * _REACH / spread if spread else 0.0
    return shift(budget, [-scale * share for share in shares])


def _outliers(group: Group, norms: dict[str, torch.Tensor]) -> float:
    """Return the share of the scores of ``group``, whose matrices are dense, that are far above their mean."""
    scores = [wanda(m.rows(m.weight).float(), input_norms=norms[m.name]) for m in group.matrices]
    mean = sum(float(score.sum()) for score in scores) / group.size
    return sum(int((score > _OUTLIER * mean).sum()) for score in scores) / group.size
