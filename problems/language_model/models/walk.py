"""A text on its way through a model, block by block."""

from collections.abc import Mapping

import torch

from evoprune.problems.language_model.models.forward import Forward


class Walk:
    """The hidden states of ``tokens`` ``(windows, window)`` before one block, at first block 0, in its dtype."""

    def __init__(self, forward: Forward, tokens: torch.Tensor, batch_tokens: int) -> None:
        self.tokens = tokens
        self._forward = forward
        self._batches = tokens.split(max(1, batch_tokens // tokens.shape[1]))
        self._states: list[torch.Tensor | None] = [None] * len(self._batches)

    @property
    def states(self) -> dict[str, torch.Tensor]:
        """The hidden states now, a tensor for each batch, by name; none before block 0."""
        return {f"states {number}": state for number, state in enumerate(self._states) if state is not None}

    def restore(self, states: Mapping[str, torch.Tensor]) -> None:
        """Set :attr:`states` to those of another walk over the same tokens."""
        device = self._forward.device
        self._states = [states[f"states {number}"].to(device, copy=True) for number in range(len(self._batches))]

    def run(self, block: int) -> list[torch.Tensor]:
        """Run ``block``, the present one; return the states after it, one tensor for each batch."""
        device = self._forward.device
        with self._forward.through(block) as run:
            return [run(batch.to(device), state) for batch, state in zip(self._batches, self._states, strict=True)]

    def advance(self, block: int) -> None:
        self._states = list(self.run(block))
