"""Random selection."""

from __future__ import annotations

import random as rng
from collections.abc import Sequence

from evoprune import Individual


def random(individuals: Sequence[Individual], k: int) -> list[Individual]:
    """Draw k different parents at random, whatever their fitness."""
    return rng.sample(individuals, k)
