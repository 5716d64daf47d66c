"""Refits an output matrix to what is left of its inputs, and says what is lost nevertheless."""

from __future__ import annotations

import torch

from problems.calibration.linear_algebra import DAMPING, damped_factor, damped_inverse


def refitted(weight: torch.Tensor, gram: torch.Tensor, kept: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """The weights ``(out, kept)`` for the inputs ``kept`` whose outputs are nearest to those of all of ``weight``.

    ``weight`` ``(out, in)``; ``gram`` ``(in, in)``: the mean over tokens of x x^T; ``kept``: int64, places of inputs.
    Least squares over tokens: the change D of the kept weights minimises |W_cut x_cut - D x_kept|^2 plus ``damping`` of
    the mean of x_kept^2 times |D|^2, so that nothing changes where nothing is cut. The result is in the dtype of
    ``weight``. The update of the optimal brain surgeon for whole structures, as in ZipLM (Kurtic et al., NeurIPS 2023).
    """
    is_cut = torch.ones(weight.shape[1], dtype=torch.bool, device=weight.device)
    is_cut[kept] = False
    inverse = damped_inverse(gram[kept][:, kept], damping)
    wide = weight.to(inverse.dtype)
    change = wide[:, is_cut] @ gram[is_cut][:, kept].to(inverse.dtype) @ inverse
    return (wide[:, kept] + change).to(weight.dtype)


def losses(weight: torch.Tensor, gram: torch.Tensor, order: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """What outputs lose with the first n inputs of ``order``, for n from 0 to all: float64 ``(in + 1,)``.

    ``weight`` ``(out, in)``; ``gram`` ``(in, in)``: the mean over tokens of x x^T; ``order``: int64, places of inputs.
    It is the mean over tokens of the squared error with the best weights for these inputs. In this order inputs are
    x = L z, where L is the factor of the damped ``gram`` and the parts of z are independent: of them the first n inputs
    know the first n, so that the squares of the other columns of W L are lost.
    """
    factor = damped_factor(gram[order][:, order], damping)
    squares = (weight[:, order].to(factor.dtype) @ factor).square().sum(0)
    return torch.cat([squares, squares.new_zeros(1)]).flip(0).cumsum(0).flip(0)
