"""The score of GBLM-Pruner: activations and gradients together."""

from __future__ import annotations

import torch


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
