"""AlphaPruning: sparsity from the shape of each layer's spectrum."""

from __future__ import annotations

from statistics import fmean

import torch

from evoprune import Budget
from problems.allocations.fitting import Loss, fit
from problems.transforms.weights.transform import Weights

_REACH = 0.3  # before scaling, sparsities are within 1 -+ this: the paper's tau


def alpha(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Give groups whose spectra have heavier tails, a sign of better training, a lower sparsity.

    Lu et al., "AlphaPruning: Using Heavy-Tailed Self Regularization Theory for Improved Layer-wise Pruning of Large
    Language Models", NeurIPS 2024: exponents q_i, scaled linearly to [1 - tau, 1 + tau], and then by one factor for the
    budget. A group's exponent is the mean of its matrices'.
    """
    bases = [[cut.masks.base(matrix) for matrix in group.matrices] for group in cut.groups]
    exponents = [fmean(tail_exponent(base) for base in group) for group in bases]
    spread = max(exponents) - min(exponents)
    places = [(exponent - min(exponents)) / spread if spread else 0.5 for exponent in exponents]
    shares = [1 - _REACH + 2 * _REACH * place for place in places]
    return fit(budget, lambda scale: [scale * share for share in shares], 0.0, 1 / (1 - _REACH))


def tail_exponent(weight: torch.Tensor) -> float:
    """Return Hill's estimate of the power law's exponent from the larger half of the squared singular values.

    It is rounded to six digits: further ones depend on the number of threads and the device, and genomes must not.
    """
    values = torch.linalg.svdvals(weight.cpu().double()).square().flip(0)
    values = values.clamp_min(torch.finfo(values.dtype).tiny)
    tail = max(1, len(values) // 2)
    excess = (values[-tail:] / values[max(0, len(values) - tail - 1)]).log().sum()
    return float(f"{1 + tail / max(float(excess), 1e-12):.6g}")
