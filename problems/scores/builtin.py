"""The scores that come with evoprune."""

from __future__ import annotations

import torch

from problems.calibration.linear_algebra import damped_inverse
from problems.scores.base import by_row


def magnitude(weight: torch.Tensor) -> torch.Tensor:
    """The absolute value of each weight.

    Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015.
    """
    return weight.abs()


@by_row
def wanda(weight: torch.Tensor, *, input_norms: torch.Tensor) -> torch.Tensor:
    """The absolute weight times the norm of its input, compared within output rows.

    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024, equation (1).
    """
    return weight.abs() * input_norms


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


def obs(weight: torch.Tensor, *, gram: torch.Tensor) -> torch.Tensor:
    """The output error of removing one weight if the others of its row compensate: w^2 / [H^-1]_jj.

    H is the damped Gram matrix of the inputs. The saliency of Hassibi & Stork, "Second order derivatives for network
    pruning: Optimal Brain Surgeon", NIPS 1992, for a linear layer as in Frantar & Alistarh, "SparseGPT", ICML 2023.
    """
    return weight.square() / damped_inverse(gram).diagonal().to(weight.dtype)


def taylor(weight: torch.Tensor, *, gradient_sizes: torch.Tensor) -> torch.Tensor:
    """The change of the loss, to first order, if the weight is removed: the mean over windows of |w g|.

    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017: the criterion
    |dC/dh h|, for single weights.
    """
    return weight.abs() * gradient_sizes


def fisher(weight: torch.Tensor, *, gradient_squares: torch.Tensor) -> torch.Tensor:
    """The rise of the loss, to second order, if the weight is removed: w^2 times the mean over windows of g^2.

    LeCun et al., "Optimal Brain Damage", NIPS 1989, with the diagonal of the empirical Fisher matrix instead of the
    Hessian's, as in Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018.
    """
    return weight.square() * gradient_squares


def gblm(weight: torch.Tensor, *, input_norms: torch.Tensor, gradient_squares: torch.Tensor) -> torch.Tensor:
    """The absolute weight times the norm of its input plus that of its gradient, each divided by the matrix's mean.

    Das et al., "Beyond Size: How Gradients Shape Pruning Decisions in Large Language Models", 2023, equation (2), where
    a constant of 100 balances the terms; means do that for any model. Scores are compared in the whole matrix, which
    gives better results than by row.
    """
    gradients = gradient_squares.sqrt()
    return weight.abs() * (_in_means(input_norms) + _in_means(gradients))


def _in_means(values: torch.Tensor) -> torch.Tensor:
    return values / values.mean().clamp_min(torch.finfo(values.dtype).tiny)
