"""Factors and inverses of Gram matrices that may be singular."""

import torch

from problems.models.device import sum_dtype

DAMPING = 0.01  # of the mean diagonal, added to the diagonal (Frantar & Alistarh, SparseGPT, ICML 2023)
_MORE_DAMPING, _TRIES = 10.0, 6
_DEAD = 1e-16  # of the mean diagonal: the diagonal for inputs that were always zero


def damped_factor(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """Return the lower Cholesky factor of ``gram`` ``(in, in)``, damped by ``damping`` of its mean diagonal.

    float64 if the device has it. Damping grows tenfold until the factor exists, else RuntimeError is raised. Inputs
    that were always zero get a tiny diagonal, so that their weights go first, as in SparseGPT's code.
    """
    matrix = gram.to(sum_dtype(gram.device), copy=True)
    diagonal = matrix.diagonal()
    mean, used = float(diagonal.mean()), diagonal != 0
    step = damping * mean
    diagonal[~used] = _DEAD * mean or 1.0
    for _ in range(_TRIES):
        diagonal[used] += step
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not failed:
            return factor  # type: ignore[no-any-return]
        step *= _MORE_DAMPING
    raise RuntimeError("the inputs of a layer are not finite, so their Gram matrix has no inverse")


def damped_inverse(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """Return the inverse of ``gram`` ``(in, in)``, damped and in the dtype as by :func:`damped_factor`."""
    return torch.cholesky_inverse(damped_factor(gram, damping))
