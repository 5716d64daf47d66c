"""Steps through a model's blocks with all windows of a text side by side."""

from __future__ import annotations

import torch

from problems.pruning.model.forward import Forward


class Walk:
    """Stands before a block with the hidden states of ``tokens`` ``(windows, window)``, at first before block 0.

    Each block is run for itself, from the states before it; where an architecture cannot be
    resumed, from the start. What is held is the states before one block, in the model's dtype.
    """

    def __init__(self, forward: Forward, tokens: torch.Tensor, batch_tokens: int) -> None:
        self.tokens = tokens
        self._forward = forward
        self._batches = tokens.split(max(1, batch_tokens // tokens.shape[1]))
        self._states: list[torch.Tensor | None] = [None] * len(self._batches)

    def run(self, block: int) -> list[torch.Tensor]:
        """Run ``block``, before which the walk stands; the states after it, a batch each."""
        device = self._forward.device
        return [
            self._forward.step(batch.to(device), block, state)
            for batch, state in zip(self._batches, self._states, strict=True)
        ]

    def advance(self, block: int) -> None:
        """Run ``block`` and stand before the next."""
        self._states = list(self.run(block))
