"""The scores that come with evoprune."""

import torch

from evoprune.problems.language_model.calibration.statistics import damped_inverse
from evoprune.problems.language_model.scores import by_row


def magnitude(weight: torch.Tensor) -> torch.Tensor:
    """The absolute value of each weight (Han et al., NeurIPS 2015)."""
    return weight.abs()


@by_row
def wanda(weight: torch.Tensor, *, input_norms: torch.Tensor) -> torch.Tensor:
    """The absolute weight times the norm of the input, within output rows (Sun et al., ICLR 2024, equation 1)."""
    return weight.abs() * input_norms


_POWER = 0.5  # of the activations: the paper's a


@by_row
def ria(weight: torch.Tensor, *, input_norms: torch.Tensor) -> torch.Tensor:
    """The absolute weight's share of the row and of the column, times the root of the input's norm.

    (|W_ij| / sum_i |W_ij| + |W_ij| / sum_j |W_ij|) ||x_j||^a: Zhang et al., "Plug-and-Play", ICLR 2024.
    """
    size = weight.abs()
    tiny = torch.finfo(size.dtype).tiny  # a row or column of zeros has no shares
    shares = size / size.sum(0, keepdim=True).clamp_min(tiny) + size / size.sum(1, keepdim=True).clamp_min(tiny)
    return shares * input_norms**_POWER


def obs(weight: torch.Tensor, *, gram: torch.Tensor) -> torch.Tensor:
    """The output error of removing one weight if the others of the row compensate: w^2 / [H^-1]_jj.

    H is the damped Gram matrix of the inputs: Hassibi & Stork, "Optimal Brain Surgeon", NIPS 1992, for a linear layer
    as in Frantar & Alistarh, "SparseGPT", ICML 2023.
    """
    return weight.square() / damped_inverse(gram).diagonal().to(weight.dtype)


def taylor(weight: torch.Tensor, *, gradient_sizes: torch.Tensor) -> torch.Tensor:
    """The mean over windows of |w g|, the change of the loss to first order (Molchanov et al., ICLR 2017)."""
    return weight.abs() * gradient_sizes


def fisher(weight: torch.Tensor, *, gradient_squares: torch.Tensor) -> torch.Tensor:
    """The rise of the loss, to second order, if the weight is removed: w^2 times the mean over windows of g^2.

    LeCun et al., "Optimal Brain Damage", NIPS 1989, with the diagonal of the empirical Fisher matrix (Theis et al.,
    2018).
    """
    return weight.square() * gradient_squares


def gblm(weight: torch.Tensor, *, input_norms: torch.Tensor, gradient_squares: torch.Tensor) -> torch.Tensor:
    """The absolute weight times the norms of input and gradient, each divided by the matrix's mean.

    Das et al., "Beyond Size", 2023, equation (2), where a constant of 100 balances the terms. Scores are compared in
    the whole matrix, which gives better results than by row.
    """
    gradients = gradient_squares.sqrt()
    return weight.abs() * (_in_means(input_norms) + _in_means(gradients))


def _in_means(values: torch.Tensor) -> torch.Tensor:
    return values / values.mean().clamp_min(torch.finfo(values.dtype).tiny)
