"""Updates of a layer's weights that compensate for pruned or quantised ones: SparseGPT, least squares, GPTQ."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from evoprune.problems.language_model.calibration.statistics import DAMPING, as_importance, damped_inverse

Floats = NDArray[np.float32]

Quantise = Callable[[Floats, Floats], tuple[NDArray[np.uint8], Floats]]
"""Quantises columns ``(out, size)`` with the importance of their inputs; returns bytes and values."""

_STEPS = 30  # of conjugate gradients, at most; each costs a product of weight and Gram matrix
_GAIN = 1e-3  # share of the error; a step that removes less is the last, when about 1% could still be gained
_COLUMNS = 128  # of a block; later columns are updated once a block: the paper's B


def update(weight: torch.Tensor, gram: torch.Tensor, factor: torch.Tensor, removed: int) -> torch.Tensor:
    """Return the least-squares update of ``weight`` ``(out, in)``, float32, with the ``removed`` zeros of SparseGPT.

    ``gram`` ``(in, in)``: the Gram matrix of the inputs; ``factor``: its :func:`inverse_factor`.
    """
    updated = sparsegpt(weight, factor, removed)
    return least_squares(weight, gram, updated != 0, updated)


def least_squares(
    weight: torch.Tensor,
    gram: torch.Tensor,
    mask: torch.Tensor,
    start: torch.Tensor,
    damping: float = DAMPING,
    steps: int = _STEPS,
    gain: float = _GAIN,
) -> torch.Tensor:
    """Return the weights ``(out, in)``, 0 outside ``mask``, that reproduce the outputs of ``weight`` best.

    Conjugate gradients on the support, preconditioned by the diagonal: the last stage of ALPS, Meng et al., NeurIPS
    2024. Rows step in parallel from ``start``, 0 outside ``mask``, at most ``steps`` times, until a step removes less
    than the share ``gain`` of the error. ``damping`` times the mean diagonal of ``gram`` ``(in, in)`` is added to its
    diagonal.
    """
    gram = gram.to(start.dtype, copy=True)
    gram.diagonal().add_(damping * gram.diagonal().mean())
    diagonal = gram.diagonal().clamp_min(torch.finfo(gram.dtype).tiny)
    updated = start.clone()
    difference = weight.to(start.dtype) - updated
    residual = difference @ gram
    error = float((difference * residual).sum())
    residual *= mask
    scaled = residual / diagonal
    direction = scaled.clone()
    product = (residual * scaled).sum(1, keepdim=True)
    for _ in range(steps):
        curvature = (direction @ gram) * mask
        step = _ratio(product, (direction * curvature).sum(1, keepdim=True))
        updated += step * direction
        decrease = float((step * product).sum())
        error -= decrease
        if decrease < gain * error:
            break
        residual -= step * curvature
        scaled = residual / diagonal
        before, product = product, (residual * scaled).sum(1, keepdim=True)
        direction = scaled + _ratio(product, before) * direction
    return updated


def _ratio(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """Return the ratio; 0 for rows that have converged, where both are almost 0."""
    return torch.where(denominator > torch.finfo(denominator.dtype).tiny, numerator / denominator, 0.0)


def inverse_factor(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """Return the upper Cholesky factor, float32, of the inverse of the damped ``gram`` ``(in, in)``."""
    factor: torch.Tensor = torch.linalg.cholesky(damped_inverse(gram, damping), upper=True)
    return factor.to(torch.float32)


def sparsegpt(weight: torch.Tensor, factor: torch.Tensor, removed: int, columns: int = _COLUMNS) -> torch.Tensor:
    """Return ``weight`` ``(out, in)`` with ``removed`` zeros; the remaining weights are updated column by column.

    Frantar & Alistarh, "SparseGPT", ICML 2023, algorithm 1. ``factor`` ``(in, in)``: the :func:`inverse_factor` of the
    inputs' Gram matrix. Each block of ``columns`` loses an equal share, the weights with the least w^2 / [H^-1]_jj.
    """
    updated = weight.to(torch.float32, copy=True)
    done, width = 0, updated.shape[1]
    for first in range(0, width, columns):
        end = min(width, first + columns)
        block, of_block = updated[:, first:end], factor[first:end, first:end]
        target = round(removed * end / width) - done
        mask = _all_but_lowest(block.square() / of_block.diagonal().square(), target)
        done += target
        updated[:, end:] -= _mask_columns(block, of_block, mask) @ factor[first:end, end:]
    return updated


def _mask_columns(weight: torch.Tensor, factor: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mask ``weight`` ``(out, columns)`` in place, compensating in later columns; return the scaled errors."""
    errors = torch.zeros_like(weight)
    for column in range(weight.shape[1]):
        error = weight[:, column].masked_fill(mask[:, column], 0) / factor[column, column]
        weight[:, column:] -= error[:, None] * factor[column, column:]
        weight[:, column].masked_fill_(~mask[:, column], 0)
        errors[:, column] = error
    return errors


def _all_but_lowest(score: torch.Tensor, count: int) -> torch.Tensor:
    mask = torch.ones(score.numel(), dtype=torch.bool, device=score.device)
    mask[score.flatten().argsort(stable=True)[:count]] = False
    return mask.view(score.shape)


def gptq(weight: torch.Tensor, gram: torch.Tensor, size: int, quantise: Quantise) -> NDArray[np.uint8]:
    """Quantise ``weight`` ``(out, in)`` by GPTQ: later columns compensate for the errors of earlier ones.

    Frantar et al., ICLR 2023, by blocks of ``size`` columns, which ``quantise`` stores together, in place of single
    ones. ``gram`` ``(in, in)``: the mean of x x^T over the inputs; its diagonal is their importance. Computed on the
    CPU.
    """
    factor, updated = inverse_factor(gram).cpu(), weight.float().cpu().clone()
    importance: Floats = as_importance(gram.diagonal()).numpy()
    blocks = []
    for first in range(0, updated.shape[1], size):
        block = slice(first, first + size)
        data, values = quantise(updated[:, block].numpy(), importance[block])
        blocks.append(data)
        lost = updated[:, block] - torch.from_numpy(values)
        errors = torch.linalg.solve_triangular(factor[block, block], lost, upper=True, left=False)
        updated[:, block.stop :] -= errors @ factor[block, block.stop :]
    return np.concatenate(blocks, axis=1)
