"""The update of one layer, as the settings say."""

from __future__ import annotations

import torch

from problems.pruning.reconstruct.least_squares import least_squares
from problems.pruning.reconstruct.sparsegpt import sparsegpt
from problems.pruning.settings import PruningSettings


def update(
    settings: PruningSettings, weight: torch.Tensor, gram: torch.Tensor, factor: torch.Tensor, kept: torch.Tensor
) -> torch.Tensor:
    """The weights ``(out, in)``, float32, that remain of ``weight``; as many as ``kept`` leaves out are 0.

    ``gram`` ``(in, in)``: of the inputs; ``factor``: its
    :func:`~problems.pruning.reconstruct.sparsegpt.inverse_factor`. ``kept``: what the score
    would keep, bool ``(out, in)``; which weights remain is for ``reconstruct_mask`` to say.
    """
    mask = kept if settings.reconstruct_mask == "score" else None
    updated = sparsegpt(weight, factor, mask, int(kept.numel() - kept.sum()))
    if settings.reconstruct == "least_squares":
        updated = least_squares(weight, gram, updated != 0 if mask is None else mask, updated)
    return updated
