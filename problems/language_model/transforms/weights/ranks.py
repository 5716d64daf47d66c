"""Turns scores into levels, so that a mask for any sparsity is a comparison.

Ranks are a permutation, ties broken by position. They are stored in 16 bits, as levels of about as many neighbouring
ranks each (one, in matrices of up to 65,535 weights). A mask cuts between two levels: the number removed is known
exactly, and differs from the number asked for by at most half a level, 8e-6 of the matrix.
"""

import torch

_MOST_LEVELS = 2**16 - 1
_LOWEST = -(2**15)  # levels are stored from here up, as int16


def ranks_in_matrix(score: torch.Tensor) -> torch.Tensor:
    """The rank of each weight in its whole matrix: int64 of ``score``'s shape, 0 the lowest."""
    order = torch.argsort(score.flatten(), stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(order.numel(), device=score.device)
    return ranks.view(score.shape)


def ranks_in_rows(rows: torch.Tensor) -> torch.Tensor:
    """As :func:`ranks_in_matrix` of ``rows`` ``(out, in)``, but weights are compared within their row.

    All rows' lowest weights come first, then all second-lowest, and so on (the comparison group of Wanda, Sun et al.,
    ICLR 2024).
    """
    order = torch.argsort(rows, dim=1, stable=True)
    places = torch.arange(rows.shape[1], device=rows.device).expand_as(order)
    within = torch.empty_like(order).scatter_(1, order, places)
    return within * rows.shape[0] + torch.arange(rows.shape[0], device=rows.device)[:, None]


def levels(ranks: torch.Tensor) -> torch.Tensor:
    """The level of each of a matrix's ``ranks``: int16 of their shape."""
    count = min(ranks.numel(), _MOST_LEVELS)
    return (ranks * count // ranks.numel() + _LOWEST).to(torch.int16)


def cut(target: int, size: int) -> tuple[int, int]:
    """The cut that removes about ``target`` of the ``size`` weights of a matrix, and the number that it removes.

    Weights whose level is below the cut are removed.
    """
    count = min(size, _MOST_LEVELS)
    place = round(target * count / size)
    return place + _LOWEST, -(-place * size // count)


def cut_at(sparsity: float, size: int) -> tuple[int, int]:
    """As :func:`cut`, for a share of the matrix."""
    return cut(round(sparsity * size), size)
