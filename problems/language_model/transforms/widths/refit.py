"""Structured OBS: refits an output matrix to its remaining inputs, and orders units by the error that is left."""

import torch

from evoprune.problems.language_model.calibration.statistics import damped_inverse

_ROUNDS = 64  # rounds in which units are removed; a round's units are chosen by their costs at its start


def refitted(weight: torch.Tensor, factor: torch.Tensor, kept: int) -> torch.Tensor:
    """The weights ``(out, kept)`` for the first ``kept`` inputs whose outputs are nearest to the outputs of ``weight``.

    ``weight`` ``(out, in)``; ``factor`` ``(in, in)``, lower triangular: of the damped mean over tokens of x x^T. The
    change D of the kept weights minimises the mean of |W_cut x_cut - D x_kept|^2 with this damping (Kurtic et al.,
    ZipLM, NeurIPS 2023): L_kk^T D^T = (W_cut L_ck)^T, so that one factor serves any number of inputs.
    """
    lost = weight[:, kept:].to(factor.dtype) @ factor[kept:, :kept]
    change: torch.Tensor = torch.linalg.solve_triangular(factor[:kept, :kept], lost, upper=False, left=False)
    return weight[:, :kept] + change.to(weight.dtype)


def losses(weight: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """The error of the outputs with the first n inputs, for n from 0 to all: ``(in + 1,)``, in the dtype of ``factor``.

    ``weight`` and ``factor`` L as of :func:`refitted`. The mean squared error with the best weights: x = L z, where z
    is independent, so that the squares of the columns of W L beyond n are lost.
    """
    squares = (weight.to(factor.dtype) @ factor).square().sum(0)
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
