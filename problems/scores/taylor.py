"""The first-order Taylor score."""

from __future__ import annotations

import torch


def taylor(weight: torch.Tensor, *, gradient_sizes: torch.Tensor) -> torch.Tensor:
    """The change of the loss, to first order, if the weight is removed: the mean over windows of |w g|.

    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017: the criterion
    |dC/dh h|, for single weights.
    """
    return weight.abs() * gradient_sizes
