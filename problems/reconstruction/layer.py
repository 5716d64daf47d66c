"""The update of one layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from problems.reconstruction.least_squares import least_squares
from problems.reconstruction.sparsegpt import inverse_factor, sparsegpt


@dataclass(frozen=True, eq=False)
class Inputs:
    """What an update knows of a layer's inputs: their ``gram`` matrix, float32 ``(in, in)``."""

    gram: torch.Tensor

    @cached_property
    def factor(self) -> torch.Tensor:
        """See :func:`~problems.reconstruction.sparsegpt.inverse_factor`."""
        return inverse_factor(self.gram)


def update(weight: torch.Tensor, inputs: Inputs, kept: torch.Tensor, method: str, mask: str) -> torch.Tensor:
    """The updated ``weight`` ``(out, in)``, float32; as many of its weights are 0 as ``kept`` leaves out.

    ``kept``: what the score would keep, bool ``(out, in)``. ``method``: ``sparsegpt``, or ``least_squares``, the best
    weights for the mask. ``mask``: ``score`` keeps ``kept``; with ``adaptive``, SparseGPT chooses the remaining weights
    itself. Least squares need no more steps from the masked weights than from SparseGPT's, which are not computed then.
    """
    adaptive = mask == "adaptive"
    if method == "least_squares" and not adaptive:
        return least_squares(weight, inputs.gram, kept, weight.float() * kept)
    updated = sparsegpt(weight, inputs.factor, None if adaptive else kept, int(kept.numel() - kept.sum()))
    return least_squares(weight, inputs.gram, updated != 0, updated) if method == "least_squares" else updated
