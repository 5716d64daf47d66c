"""Updates of a layer's remaining weights that compensate for the others: least squares, GPTQ."""

import numpy as np
import torch

from evoprune.problems.language_model.calibration.statistics import DAMPING, as_importance, damped_inverse
from evoprune.problems.language_model.gguf import ggml

_STEPS = 30  # at most, of conjugate gradients; each costs a product of weight and Gram matrix
_GAIN = 1e-3  # a step that removes a smaller share of the error is the last one: about 1% is then left to gain
_COLUMNS = 128  # whose updates of later columns are applied together: the paper's B


def update(weight: torch.Tensor, gram: torch.Tensor, factor: torch.Tensor, removed: int) -> torch.Tensor:
    """Return the least-squares ``weight`` ``(out, in)``, float32, with ``removed`` zeros where SparseGPT puts them.

    ``gram`` ``(in, in)``: the Gram matrix of the inputs; ``factor``: its :func:`inverse_factor`.
    """
    updated = sparsegpt(weight, factor, removed)
    return least_squares(weight, gram, updated != 0, updated)


def least_squares(
    weight: torch.Tensor,
    gram: torch.Tensor,
    kept: torch.Tensor,
    start: torch.Tensor,
    damping: float = DAMPING,
    steps: int = _STEPS,
    gain: float = _GAIN,
) -> torch.Tensor:
    """Return the weights ``(out, in)``, 0 outside ``kept``, whose outputs are nearest to the outputs of ``weight``.

    ``damping`` of the mean diagonal of ``gram`` ``(in, in)`` is added to its diagonal. Rows step in parallel from
    ``start``, 0 outside ``kept``, up to ``steps`` times, or until a step removes less than the share ``gain`` of the
    error. Conjugate gradients on the support, preconditioned by the diagonal: the last stage of ALPS, Meng et al.,
    NeurIPS 2024.
    """
    gram = gram.to(start.dtype, copy=True)
    gram.diagonal().add_(damping * gram.diagonal().mean())
    diagonal = gram.diagonal().clamp_min(torch.finfo(gram.dtype).tiny)
    updated = start.clone()
    lacking = weight.to(start.dtype) - updated
    rest = lacking @ gram
    error = float((lacking * rest).sum())
    rest *= kept
    scaled = rest / diagonal
    direction = scaled.clone()
    power = (rest * scaled).sum(1, keepdim=True)
    for _ in range(steps):
        along = (direction @ gram) * kept
        step = _ratio(power, (direction * along).sum(1, keepdim=True))
        updated += step * direction
        fall = float((step * power).sum())
        error -= fall
        if fall < gain * error:
            break
        rest -= step * along
        scaled = rest / diagonal
        before, power = power, (rest * scaled).sum(1, keepdim=True)
        direction = scaled + _ratio(power, before) * direction
    return updated


def _ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """Return the ratio; 0 if a row has converged and both are almost 0."""
    return torch.where(below > torch.finfo(below.dtype).tiny, above / below, 0.0)


def inverse_factor(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """Return the upper Cholesky factor of the inverse of ``gram`` ``(in, in)``, damped: float32."""
    factor: torch.Tensor = torch.linalg.cholesky(damped_inverse(gram, damping), upper=True)
    return factor.to(torch.float32)


def sparsegpt(weight: torch.Tensor, factor: torch.Tensor, removed: int, columns: int = _COLUMNS) -> torch.Tensor:
    """Return the remaining weights of ``weight`` ``(out, in)``, updated column by column; the removed ones are 0.

    ``factor`` ``(in, in)``: the :func:`inverse_factor` of the inputs' Gram matrix. ``removed`` weights, an equal share
    of each block of ``columns``, are chosen by w^2 / [H^-1]_jj as updated so far. Frantar & Alistarh, "SparseGPT", ICML
    2023, algorithm 1.
    """
    updated = weight.to(torch.float32, copy=True)
    gone, width = 0, updated.shape[1]
    for first in range(0, width, columns):
        end = min(width, first + columns)
        inside = factor[first:end, first:end]
        now = updated[:, first:end]
        target = round(removed * end / width) - gone
        stays = _all_but_lowest(now.square() / inside.diagonal().square(), target)
        gone += target
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
    lowest = score.flatten().argsort(stable=True)[:count]
    stays = torch.ones(score.numel(), dtype=torch.bool, device=score.device)
    stays[lowest] = False
    return stays.view(score.shape)


def compensated(weight: torch.Tensor, kind: str, gram: torch.Tensor) -> ggml.Bytes:
    """Quantise rows ``weight`` ``(out, in)`` to ``kind``, and correct the error of each block in the columns after it.

    ``gram`` ``(in, in)``: the mean of x x^T over the inputs, whose diagonal is the importance. GPTQ (Frantar et al.,
    ICLR 2023), with the blocks that the type stores together in place of single columns. Computed on the CPU.
    """
    factor, updated, size = inverse_factor(gram).cpu(), weight.float().cpu().clone(), ggml.block_size(kind)
    importance: ggml.Floats = as_importance(gram.diagonal()).numpy()
    blocks = []
    for first in range(0, updated.shape[1], size):
        block = slice(first, first + size)
        now = updated[:, block]
        blocks.append(ggml.quantize(now.numpy(), kind, importance[block]))
        lost = now - torch.from_numpy(ggml.dequantize(blocks[-1], kind, size))
        errors = torch.linalg.solve_triangular(factor[block, block], lost, upper=True, left=False)
        updated[:, block.stop :] -= errors @ factor[block, block.stop :]
    return np.concatenate(blocks, axis=1)
