"""The optimal brain surgeon's score, as SparseGPT uses it."""

from __future__ import annotations

import torch

from problems.calibration.linear_algebra import damped_inverse


def obs(weight: torch.Tensor, *, gram: torch.Tensor) -> torch.Tensor:
    """The output error of removing one weight if the others of its row compensate: w^2 / [H^-1]_jj.

    H is the damped Gram matrix of the inputs. The saliency of Hassibi & Stork, "Second order derivatives for network
    pruning: Optimal Brain Surgeon", NIPS 1992, for a linear layer as in Frantar & Alistarh, "SparseGPT", ICML 2023.
    """
    return weight.square() / damped_inverse(gram).diagonal().to(weight.dtype)
