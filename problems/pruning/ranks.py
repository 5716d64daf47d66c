"""Turns scores into ranks, so that a mask for any sparsity is a comparison.

Ranks are a permutation: ties are broken by position. Cutting the ``k`` lowest ranks
therefore removes exactly ``k`` weights, however many magnitudes are equal.
"""

from __future__ import annotations

import torch


def ranks_in_matrix(score: torch.Tensor) -> torch.Tensor:
    """The rank of each weight in its whole matrix: int32 of ``score``'s shape, 0 the lowest."""
    order = torch.argsort(score.flatten(), stable=True)
    ranks = torch.empty(order.numel(), dtype=torch.int32, device=score.device)
    ranks[order] = torch.arange(order.numel(), dtype=torch.int32, device=score.device)
    return ranks.view(score.shape)


def ranks_in_rows(score: torch.Tensor, transposed: bool = False) -> torch.Tensor:
    """As :func:`ranks_in_matrix`, but weights are compared within their output row.

    All rows' lowest weights come first, then all second-lowest, and so on: cutting the
    ``k`` lowest ranks removes ``k`` weights in all, and from any two rows numbers that
    differ by one at most (the comparison group of Wanda, Sun et al., ICLR 2024).
    ``score`` lies ``(out, in)``, or ``(in, out)`` if ``transposed``.
    """
    rows = score.T if transposed else score
    order = torch.argsort(rows, dim=1, stable=True)
    places = torch.arange(rows.shape[1], device=score.device).expand_as(order)
    within = torch.empty_like(order).scatter_(1, order, places)
    ranks = within * rows.shape[0] + torch.arange(rows.shape[0], device=score.device)[:, None]
    ranks = ranks.to(torch.int32)
    return ranks.T.contiguous() if transposed else ranks
