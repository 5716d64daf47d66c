"""SparseGPT's update of one layer."""

from __future__ import annotations

import torch

from problems.calibration.linear_algebra import DAMPING, damped_inverse

_COLUMNS = 128
"""Columns whose updates of later columns are applied together: the paper's B."""


def inverse_factor(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of ``gram`` ``(in, in)``, damped: float32."""
    factor: torch.Tensor = torch.linalg.cholesky(damped_inverse(gram, damping), upper=True)
    return factor.to(torch.float32)


def sparsegpt(
    weight: torch.Tensor,
    factor: torch.Tensor,
    kept: torch.Tensor | None = None,
    removed: int = 0,
    columns: int = _COLUMNS,
) -> torch.Tensor:
    """The remaining weights ``(out, in)`` of ``weight``, updated column by column; the removed ones are 0.

    ``factor`` ``(in, in)``: the :func:`inverse_factor` of the inputs' Gram matrix, which several
    masks of one layer can share. ``kept``: which weights remain, bool ``(out, in)``;
    without it, ``removed`` weights are removed, an equal share of each block of ``columns``, chosen
    by w^2 / [H^-1]_jj as updated so far. The columns after a removed weight compensate for its error,
    so the inverse of the remaining Gram matrix is a row of the Cholesky factor of the whole inverse.
    Frantar & Alistarh, "SparseGPT", ICML 2023, algorithm 1.
    """
    updated = weight.to(torch.float32, copy=True)
    gone, width = 0, updated.shape[1]
    for first in range(0, width, columns):
        end = min(width, first + columns)
        inside = factor[first:end, first:end]
        now = updated[:, first:end]
        if kept is None:
            target = round(removed * end / width) - gone
            stays = _all_but_lowest(now.square() / inside.diagonal().square(), target)
            gone += target
        else:
            stays = kept[:, first:end]
        updated[:, end:] -= _clear(now, inside, stays) @ factor[first:end, end:]
    return updated


def _clear(weight: torch.Tensor, factor: torch.Tensor, stays: torch.Tensor) -> torch.Tensor:
    """Set the weights outside ``stays`` to 0 in ``weight`` ``(out, columns)``, in place; return the scaled errors."""
    errors = torch.zeros_like(weight)
    for column in range(weight.shape[1]):
        error = weight[:, column].masked_fill(stays[:, column], 0) / factor[column, column]
        weight[:, column:] -= error[:, None] * factor[column, column:]
        weight[:, column].masked_fill_(~stays[:, column], 0)
        errors[:, column] = error
    return errors


def _all_but_lowest(score: torch.Tensor, count: int) -> torch.Tensor:
    """Bool of ``score``'s shape: false for exactly the ``count`` lowest."""
    lowest = score.flatten().argsort(stable=True)[:count]
    stays = torch.ones(score.numel(), dtype=torch.bool, device=score.device)
    stays[lowest] = False
    return stays.view(score.shape)
