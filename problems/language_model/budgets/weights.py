"""The budget in weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from evoprune import Additive, Budget, Fraction
from problems.language_model.transform import WEIGHTS, Transform


def unlimited_weights(transform: Transform) -> Additive:
    """Counts the weights that are left, and limits nothing."""
    prices, fixed = transform.prices(WEIGHTS)
    return Additive(transform.genes, prices, None, WEIGHTS, fixed)


def weights(
    transform: Transform,
    *,
    removed: Annotated[Fraction, Field(description="share of the blocks' weights to remove")],
) -> Budget:
    """Remove a share of the weights in the blocks' matrices."""
    prices, fixed = transform.prices(WEIGHTS)
    counted = unlimited_weights(transform)
    total = counted.spent(transform.dense)
    if any(isinstance(price, Sequence) for price in prices):
        return Additive(transform.genes, prices, (1 - removed) * total, WEIGHTS, fixed)
    share = removed * (total / counted.scale)  # exact where genes are shares of the weights
    return Additive.at_share(transform.genes, prices, -share, WEIGHTS, fixed)
