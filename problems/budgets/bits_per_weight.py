"""The budget in bits of the file for each parameter."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evoprune import Budget
from problems.transforms.transform import BYTES, Transform


def bits_per_weight(
    transform: Transform,
    *,
    at_most: Annotated[float, Field(gt=0, description="bits of the whole file, divided by the model's parameters")],
) -> Budget:
    """Keep the file at some bits for each parameter of the dense model.

    The file counts as in :func:`problems.budgets.file_bytes.file_bytes`: norms, tokenizer and metadata
    of a .gguf file count, so that a file whose matrices all have 4.5 bits has more.
    """
    return transform.budget(BYTES, at_most, "bits a weight", 8 / transform.resident.parameters)
