"""The best weights for a given mask, by conjugate gradients."""

from __future__ import annotations

import torch

from problems.calibration.linear_algebra import DAMPING

_STEPS = 30
"""The most steps; each costs a product of weight and Gram matrix."""

_GAIN = 1e-3
"""The share of the error that a step must take away, else it is the last one: about 1% of it is then left to gain."""


def least_squares(
    weight: torch.Tensor,
    gram: torch.Tensor,
    kept: torch.Tensor,
    start: torch.Tensor,
    damping: float = DAMPING,
    steps: int = _STEPS,
    gain: float = _GAIN,
) -> torch.Tensor:
    """The weights ``(out, in)``, 0 outside ``kept``, whose outputs are nearest to those of ``weight``.

    ``gram`` ``(in, in)``: of the inputs, ``damping`` of its mean diagonal added to its diagonal.
    All rows step in parallel from ``start``, which must be 0 outside ``kept``; no step raises
    the (damped) error, so the result is never worse than ``start``. They end after ``steps``, or with the first one
    that takes away less than the share ``gain`` of the error. With ``gain`` 0 and as many steps as a row
    has kept weights it is exact except for rounding. The last stage of ALPS, Meng et al.,
    NeurIPS 2024: conjugate gradients on the support, preconditioned by the diagonal.
    """
    gram = gram.to(start.dtype, copy=True)
    gram.diagonal().add_(damping * gram.diagonal().mean())
    diagonal = gram.diagonal().clamp_min(torch.finfo(gram.dtype).tiny)
    found = start.clone()
    lacking = weight.to(start.dtype) - found
    rest = lacking @ gram
    error = float((lacking * rest).sum())
    rest *= kept
    scaled = rest / diagonal
    direction = scaled.clone()
    power = (rest * scaled).sum(1, keepdim=True)
    for _ in range(steps):
        along = (direction @ gram) * kept
        step = _ratio(power, (direction * along).sum(1, keepdim=True))
        found += step * direction
        fall = float((step * power).sum())
        error -= fall
        if fall < gain * error:
            break
        rest -= step * along
        scaled = rest / diagonal
        before, power = power, (rest * scaled).sum(1, keepdim=True)
        direction = scaled + _ratio(power, before) * direction
    return found


def _ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """The ratio; 0 if a row has converged and both are almost 0."""
    return torch.where(below > torch.finfo(below.dtype).tiny, above / below, 0.0)
