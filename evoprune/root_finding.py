"""Where a function that never falls reaches a target."""

from __future__ import annotations

from collections.abc import Callable

_HALVINGS = 200
"""More than enough to exhaust a double's precision."""


def solve(rising: Callable[[float], float], target: float, low: float, up: float) -> float:
    """Where the non-decreasing ``rising`` reaches ``target`` in [low, up], by bisection.

    To the last bit: the least number found that is not below ``target``, or ``up`` where all are.
    """
    for _ in range(_HALVINGS):
        middle = (low + up) / 2
        if middle in (low, up):
            break
        if rising(middle) < target:
            low = middle
        else:
            up = middle
    return up
