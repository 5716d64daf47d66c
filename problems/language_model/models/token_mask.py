"""Tokens that are read but not scored: each is stored as its complement, ``~token``, among the others.

So any tensor of windows says by itself which predictions count. The first token of a window is never predicted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # checking a task file does not need it
    import torch

Array = TypeVar("Array", bound=Any)


def ids(tokens: Array) -> Array:
    """Return ``tokens``, a tensor or an array of int64, as a model reads them."""
    return tokens ^ (tokens >> 63)  # type: ignore[no-any-return]


def predictions(tokens: torch.Tensor) -> int:
    """Count the predictions in ``tokens`` ``(windows, window)`` that count."""
    return int((tokens[:, 1:] >= 0).sum())


def scored(rows: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows that predict a token that counts, and these tokens, in their order.

    ``rows``: ``(windows, window, width)``, one for each of ``tokens`` ``(windows, window)``.
    """
    rows, targets = rows[:, :-1], tokens[:, 1:]
    counted = targets >= 0
    if counted.all():
        return rows.flatten(0, 1), targets.flatten()
    return rows[counted], targets[counted]
