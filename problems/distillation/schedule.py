"""What each step of a recovery reads, and how large it is: functions of the seed and the step alone."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy

_WARM_UP = 0.05
"""The share of the steps in which the learning rate rises."""


def share(step: int, steps: int) -> float:
    """The learning rate of ``step``, from 0 on, of ``steps``, as a share of the highest: a linear rise, then a cosine.

    It is above 0 in each step, and would be 0 in the one after the last.
    """
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return (step + 1) / (rise + 1)
    return (1 + math.cos(math.pi * (step - rise + 1) / (steps - rise + 1))) / 2


def places(step: int, batch: int, available: int, seed: int) -> list[int]:
    """The windows of ``step``, from 0 on: ``batch`` of ``available`` ones, which are all read before any is again.

    Each pass over them has an order of its own, decided by ``seed``.
    """
    found = []
    for count in range(step * batch, (step + 1) * batch):
        turn, place = divmod(count, available)
        found.append(int(_order(seed, turn, available)[place]))
    return found


@lru_cache(maxsize=2)  # a step may end one turn and begin the next
def _order(seed: int, turn: int, available: int) -> numpy.ndarray:
    return numpy.random.default_rng([seed, turn]).permutation(available)


def evaluated(steps: int, evaluations: int) -> list[int]:
    """The numbers of steps done at which held-out windows are measured: evenly spread, the last is ``steps``."""
    return sorted({math.ceil(steps * number / evaluations) for number in range(1, evaluations + 1)})
