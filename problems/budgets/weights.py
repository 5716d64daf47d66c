"""The budgets in weights of the blocks' matrices, and in parameters of the blocks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evoprune import Additive, Budget, Fraction
from problems.transforms.transform import PARAMETERS, WEIGHTS, Transform


def unlimited_weights(transform: Transform) -> Budget:
    """Counts the weights that are left, and limits nothing."""
    return transform.budget(WEIGHTS, None)


def weights(
    transform: Transform, *, removed: Annotated[Fraction, Field(description="share of the blocks' weights to remove")]
) -> Budget:
    """Remove a share of the weights in the blocks' matrices."""
    counted = unlimited_weights(transform)
    total = counted.spent(transform.dense)
    if isinstance(counted, Additive) and not transform.genes.with_levels:
        share = removed * (total / counted.scale)  # exact where genes are shares of the weights
        prices, fixed = transform.costs(WEIGHTS)
        return Additive.at_share(transform.genes, prices, -share, WEIGHTS, fixed)
    return transform.budget(WEIGHTS, (1 - removed) * total)


def parameters(
    transform: Transform,
    *,
    removed: Annotated[Fraction, Field(description="share of the blocks' parameters to remove, at least")],
) -> Budget:
    """Remove a share of the parameters in the blocks, without those of embeddings and head."""
    limit = transform.resident.parameters - removed * transform.resident.block_parameters
    return transform.budget(PARAMETERS, limit)
