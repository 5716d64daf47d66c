"""Inverses of Gram matrices that may be singular."""

from __future__ import annotations

import torch

DAMPING = 0.01
"""Share of the mean diagonal that is added to the diagonal (Frantar & Alistarh, SparseGPT, ICML 2023)."""

_MORE_DAMPING, _TRIES = 10.0, 6


def damped_inverse(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """The inverse of ``gram`` ``(in, in)`` with ``damping`` of its mean diagonal added to its diagonal.

    In float64 where the device has it. Damping grows tenfold until the matrix is positive
    definite; inputs that were always zero get 1, so that they neither fail nor matter.
    """
    matrix = gram.to(gram.dtype if gram.device.type == "mps" else torch.float64, copy=True)
    diagonal = matrix.diagonal()
    step = damping * float(diagonal.mean())
    diagonal[diagonal == 0] = 1.0
    for _ in range(_TRIES):
        diagonal += step
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not failed:
            return torch.cholesky_inverse(factor)
        step *= _MORE_DAMPING
    raise RuntimeError("the inputs of a layer are not finite, so that their Gram matrix has no inverse")
