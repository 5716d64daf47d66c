"""The scores that come with evoprune."""

import torch

from evoprune.problems.language_model.scores import by_row


def magnitude(weight: torch.Tensor) -> torch.Tensor:
    """The absolute value of each weight (Han et al., NeurIPS 2015)."""
    return weight.abs()


@by_row
def wanda(weight: torch.Tensor, *, input_norms: torch.Tensor) -> torch.Tensor:
    """The absolute weight times the norm of the input, within output rows (Sun et al., ICLR 2024, equation 1)."""
    return weight.abs() * input_norms


def gblm(weight: torch.Tensor, *, input_norms: torch.Tensor, gradient_squares: torch.Tensor) -> torch.Tensor:
    """The absolute weight times the sum of the norms of input and gradient, each divided by its mean in the matrix.

    Das et al., "Beyond Size", 2023, equation (2), where a constant of 100 balances the terms. Weights are ranked in the
    whole matrix, which gives better results than by row.
    """
    gradients = gradient_squares.sqrt()
    return weight.abs() * (_over_mean(input_norms) + _over_mean(gradients))


def _over_mean(values: torch.Tensor) -> torch.Tensor:
    return values / values.mean().clamp_min(torch.finfo(values.dtype).tiny)
