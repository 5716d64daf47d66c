"""The update of one layer."""

from __future__ import annotations

import torch

from problems.pruning.reconstruct.least_squares import least_squares
from problems.pruning.reconstruct.sparsegpt import sparsegpt


def update(
    weight: torch.Tensor, gram: torch.Tensor, factor: torch.Tensor, kept: torch.Tensor, method: str, mask: str
) -> torch.Tensor:
    """The updated ``weight`` ``(out, in)``, float32; as many of its weights are 0 as ``kept`` leaves out.

    ``gram`` ``(in, in)``: of the inputs; ``factor``: its
    :func:`~problems.pruning.reconstruct.sparsegpt.inverse_factor`. ``kept``: what the score would keep, bool
    ``(out, in)``. ``method``: ``sparsegpt``, or ``least_squares``, which goes on from there to the best weights for the
    mask. ``mask``: ``score`` keeps ``kept``; with ``adaptive``, SparseGPT chooses the remaining weights itself.
    """
    fixed = kept if mask == "score" else None
    updated = sparsegpt(weight, factor, fixed, int(kept.numel() - kept.sum()))
    if method == "least_squares":
        updated = least_squares(weight, gram, updated != 0 if fixed is None else fixed, updated)
    return updated
