"""Relative importance and activations."""

from __future__ import annotations

import torch

from problems.scores.base import by_row

_POWER = 0.5  # of the activations: the paper's a


@by_row
def ria(weight: torch.Tensor, *, input_norms: torch.Tensor) -> torch.Tensor:
    """The absolute weight's share of its row and of its column, times the root of its input's norm.

    (|W_ij| / sum_i |W_ij| + |W_ij| / sum_j |W_ij|) ||x_j||^a: the relative importance and activations of Zhang et al.,
    "Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models", ICLR 2024.
    """
    size = weight.abs()
    tiny = torch.finfo(size.dtype).tiny  # a row or column of zeros has no shares
    shares = size / size.sum(0, keepdim=True).clamp_min(tiny) + size / size.sum(1, keepdim=True).clamp_min(tiny)
    return shares * input_norms**_POWER
