"""Runs a model block by block, with all windows of a text in parallel."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from problems.models.forward import Forward


class Walk:
    """Holds the hidden states of ``tokens`` ``(windows, window)`` before one block, at first block 0.

    Each block runs alone, from the states before it; if an architecture cannot be resumed, all
    blocks run from the first on. States are in the model's dtype.
    """

    def __init__(self, forward: Forward, tokens: torch.Tensor, batch_tokens: int) -> None:
        self.tokens = tokens
        self._forward = forward
        self._batches = tokens.split(max(1, batch_tokens // tokens.shape[1]))
        self._states: list[torch.Tensor | None] = [None] * len(self._batches)

    @property
    def states(self) -> dict[str, torch.Tensor]:
        """The hidden states now, a tensor for each batch, by names; none before block 0."""
        return {f"states {number}": state for number, state in enumerate(self._states) if state is not None}

    def restore(self, states: Mapping[str, torch.Tensor]) -> None:
        """Go to where another walk over the same tokens had these :attr:`states`, among which may be other tensors."""
        device = self._forward.device
        self._states = [states[f"states {number}"].to(device, copy=True) for number in range(len(self._batches))]

    def run(self, block: int) -> list[torch.Tensor]:
        """Run ``block``, the present one; the states after it, one tensor for each batch."""
        device = self._forward.device
        return [
            self._forward.step(batch.to(device), block, state)
            for batch, state in zip(self._batches, self._states, strict=True)
        ]

    def advance(self, block: int) -> None:
        """Run ``block`` and move to the next."""
        self._states = list(self.run(block))
