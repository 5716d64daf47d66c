"""Factors and inverses of Gram matrices that may be singular."""

from __future__ import annotations

import torch

from problems.models.device import sum_dtype

DAMPING = 0.01
"""Share of the mean diagonal that is added to the diagonal (Frantar & Alistarh, SparseGPT, ICML 2023)."""

_MORE_DAMPING, _TRIES = 10.0, 6

_NEXT_TO_NOTHING = 1e-16
"""The diagonal for inputs that were always zero, as a share of the mean diagonal."""


def damped_factor(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """The lower Cholesky factor of ``gram`` ``(in, in)`` with ``damping`` of its mean diagonal added to its diagonal.

    In float64 (also the result) if the device has it, else in float32. Damping grows tenfold until
    the matrix is positive definite. Inputs that were always zero get a tiny diagonal without damping,
    so that scores and SparseGPT remove their weights first, as its authors' code does. Raises
    RuntimeError if no damping helps.
    """
    matrix = gram.to(sum_dtype(gram.device), copy=True)
    diagonal = matrix.diagonal()
    mean, used = float(diagonal.mean()), diagonal != 0
    step = damping * mean
    diagonal[~used] = _NEXT_TO_NOTHING * mean or 1.0
    for _ in range(_TRIES):
        diagonal[used] += step
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not failed:
            return factor  # type: ignore[no-any-return]
        step *= _MORE_DAMPING
    raise RuntimeError("the inputs of a layer are not finite, so their Gram matrix has no inverse")


def damped_inverse(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """The inverse of ``gram`` ``(in, in)``, damped as :func:`damped_factor` does; float64, or float32 as there."""
    return torch.cholesky_inverse(damped_factor(gram, damping))
