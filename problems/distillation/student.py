"""A model that is trained, with its loss as its result."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from evoprune import InputError
from problems.distillation.loss import distillation, hidden_difference
from problems.models.forward import Forward

PARTS = 3
"""Of the loss: divergence, cross-entropy, and the difference of hidden states."""


class Student(nn.Module):
    """One module for all of that, so that several processes can share the work on a batch.

    The loss is the divergence from the teacher, plus ``cross_entropy`` and ``hidden`` times the other two. Raises
    :class:`evoprune.InputError` where hidden states cannot be matched.
    """

    def __init__(self, model: Any, forward: Forward, teacher: Forward, cross_entropy: float, hidden: float) -> None:
        super().__init__()
        if hidden and forward.depth != teacher.depth:
            raise InputError(
                f"the model has {forward.depth} blocks and its dense model {teacher.depth}, and which of them are left "
                "is not known; recover the run instead of its export, or leave hidden out",
                "hidden",
            )
        self.model = model
        self._forward, self._teacher, self._cross_entropy, self._hidden = forward, teacher, cross_entropy, hidden

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of ``tokens`` ``(windows, window)``, and its parts ``(3,)``: see ``distillation``; hidden states."""
        difference = torch.zeros((), device=tokens.device)
        with ExitStack() as stack:
            if self._hidden:
                states, known = (stack.enter_context(m.noting_states()) for m in (self._forward, self._teacher))
            taught = self._teacher(tokens)[0][:, :-1].flatten(0, 1)
            rows = self._forward.rows(tokens)[:, :-1].flatten(0, 1)
            if self._hidden:
                difference = hidden_difference(states, known)
        heads = self._forward.head, self._teacher.head
        loss, parts = distillation(rows, heads[0], tokens[:, 1:].flatten(), taught, heads[1], self._cross_entropy)
        return loss + self._hidden * difference, torch.cat([parts, difference.detach()[None]])
