"""The budget in parameters."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evoprune import Budget, Fraction
from problems.transforms.transform import PARAMETERS, Transform


def parameters(
    transform: Transform,
    *,
    removed: Annotated[Fraction, Field(description="share of the blocks' parameters to remove, at least")],
) -> Budget:
    """Remove a share of the parameters in the blocks, without those of embeddings and head."""
    limit = transform.resident.parameters - removed * transform.resident.block_parameters
    return transform.budget(PARAMETERS, limit)
