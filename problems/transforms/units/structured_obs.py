"""Orders units by what an output matrix loses without them, once it makes up for it: the structured OBS of ZipLM."""

from __future__ import annotations

import torch

from problems.calibration.linear_algebra import damped_inverse

_ROUNDS = 64
"""Rounds in which units are removed; a round's units are chosen by their costs at its start."""


def best_first(weight: torch.Tensor, gram: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The units, int64 ``(units,)``, the one that is removed last first.

    ``weight`` ``(out, in)``; ``gram`` ``(in, in)``: the mean over tokens of x x^T; ``places`` ``(units, size)``, int64:
    the inputs of each unit. Each round removes the units S with the least tr(W_S ((H^-1)_SS)^-1 W_S^T), the error that
    is left when all other weights make up for them, and updates W and H^-1 (Kurtic et al., ZipLM, NeurIPS 2023,
    equations 2 and 3); H is ``gram`` with ``DAMPING`` of its mean diagonal.
    """
    inverse = damped_inverse(gram)
    wide = weight.to(inverse.dtype, copy=True)
    left, gone = torch.arange(len(places), device=places.device), []
    at_once = -(-len(places) // _ROUNDS)
    while len(left):
        at = places[left]
        columns = wide[:, at].permute(1, 2, 0)
        costs = (columns * _solved(inverse[at[:, :, None], at[:, None, :]], columns)).sum((1, 2))
        order = costs.argsort(stable=True)
        chosen, cut = left[order[:at_once]], at[order[:at_once]].flatten()
        change = torch.linalg.solve(inverse[cut][:, cut], inverse[cut])
        wide -= wide[:, cut] @ change
        inverse -= inverse[:, cut] @ change
        gone.append(chosen)
        left = left[order[at_once:].sort().values]
    return torch.cat(gone).flip(0)


def _solved(matrices: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """X of A X = B for each A of ``matrices`` ``(units, size, size)`` and B of ``right`` ``(units, size, n)``.

    One by one: with several threads MKL 2024.2 solves a batch of 192 rows and more wrongly, or not at all.
    """
    if matrices.shape[1] == 1:  # channels, too many for a loop
        return right / matrices
    return torch.stack([torch.linalg.solve(own, columns) for own, columns in zip(matrices, right, strict=True)])
