"""The Wanda score."""

from __future__ import annotations

import torch

from problems.scores.base import by_row


@by_row
def wanda(weight: torch.Tensor, *, input_norms: torch.Tensor) -> torch.Tensor:
    """The absolute weight times the norm of its input, compared within output rows.

    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024, equation (1).
    """
    return weight.abs() * input_norms
