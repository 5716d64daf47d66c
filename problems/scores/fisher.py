"""The empirical Fisher score."""

from __future__ import annotations

import torch


def fisher(weight: torch.Tensor, *, gradient_squares: torch.Tensor) -> torch.Tensor:
    """The rise of the loss, to second order, if the weight is removed: w^2 times the mean over windows of g^2.

    LeCun et al., "Optimal Brain Damage", NIPS 1989, with the diagonal of the empirical Fisher matrix instead of the
    Hessian's, as in Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018.
    """
    return weight.square() * gradient_squares
