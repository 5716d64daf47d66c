"""Structured OBS: refits an output matrix to its remaining inputs, and orders units by the error that is left."""

import torch

from evoprune.problems.calibration.statistics import DAMPING, damped_factor, damped_inverse

_ROUNDS = 64  # rounds in which units are removed; a round's units are chosen by their costs at its start


def refitted(weight: torch.Tensor, gram: torch.Tensor, kept: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """The weights ``(out, kept)`` for the inputs ``kept`` whose outputs are nearest to those of all of ``weight``.

    ``weight`` ``(out, in)``; ``gram`` ``(in, in)``: the mean over tokens of x x^T; ``kept``: int64, places of inputs.
    The change D of the kept weights minimises |W_cut x_cut - D x_kept|^2 plus ``damping`` of the mean of x_kept^2 times
    |D|^2 (Kurtic et al., ZipLM, NeurIPS 2023).
    """
    is_cut = torch.ones(weight.shape[1], dtype=torch.bool, device=weight.device)
    is_cut[kept] = False
    factor = damped_factor(gram[kept][:, kept], damping)
    wide = weight.to(factor.dtype)
    lost = gram[kept][:, is_cut].to(factor.dtype) @ wide[:, is_cut].T
    return (wide[:, kept] + torch.cholesky_solve(lost, factor).T).to(weight.dtype)


def losses(weight: torch.Tensor, gram: torch.Tensor, order: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """The error of the outputs with the first n inputs of ``order``, for n from 0 to all: float64 ``(in + 1,)``.

    ``weight`` ``(out, in)``; ``gram`` ``(in, in)``: the mean over tokens of x x^T; ``order``: int64, places of inputs.
    The mean squared error with the best weights: x = L z, where L is the factor of the damped ``gram`` and z is
    independent, so that the squares of the columns of W L beyond n are lost.
    """
    factor = damped_factor(gram[order][:, order], damping)
    squares = (weight[:, order].to(factor.dtype) @ factor).square().sum(0)
    return torch.cat([squares, squares.new_zeros(1)]).flip(0).cumsum(0).flip(0)


def best_first(weight: torch.Tensor, gram: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The units, int64 ``(units,)``, the one that is removed last first.

    ``weight`` ``(out, in)``; ``gram`` ``(in, in)``: the mean over tokens of x x^T; ``places`` ``(units, size)``, int64:
    the inputs of each unit. Each round removes the units S with the least tr(W_S ((H^-1)_SS)^-1 W_S^T), and updates W
    and H^-1 (Kurtic et al., ZipLM, NeurIPS 2023, equations 2 and 3); H is the damped ``gram``.
    """
    units, size = places.shape
    at = places.flatten()
    inverse = damped_inverse(gram[at][:, at])
    wide = weight.to(inverse.dtype)[:, at]
    left, gone = torch.arange(units, device=places.device), []
    at_once = -(-units // _ROUNDS)
    while len(left):  # whose inputs alone are in ``wide`` and ``inverse``
        at = torch.arange(size * len(left), device=places.device).view(-1, size)
        columns = wide[:, at].permute(1, 2, 0)
        costs = (columns * _solved(inverse[at[:, :, None], at[:, None, :]], columns)).sum((1, 2))
        order = costs.argsort(stable=True)
        gone.append(left[order[:at_once]])
        stay = order[at_once:].sort().values
        cut, kept, left = at[order[:at_once]].flatten(), at[stay].flatten(), left[stay]
        change = torch.linalg.solve(inverse[cut][:, cut], inverse[cut[:, None], kept])
        wide = wide[:, kept].addmm_(wide[:, cut], change, alpha=-1)
        inverse = inverse[kept[:, None], kept].addmm_(inverse[kept[:, None], cut], change, alpha=-1)
    return torch.cat(gone).flip(0)


def _solved(matrices: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """X of A X = B, one by one: with several threads MKL 2024.2 solves a batch of 192 rows and more wrongly."""
    if matrices.shape[1] == 1:  # channels, too many for a loop
        return right / matrices
    return torch.stack([torch.linalg.solve(own, columns) for own, columns in zip(matrices, right, strict=True)])
