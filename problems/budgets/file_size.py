"""The budgets of the file: in bytes, and in bits for each parameter.

Counted are all parameters in the number format that the model runs in, without the file's header and tokenizer; with
the transform ``types`` every byte of the .gguf file. So norms, tokenizer and metadata count there: a file whose
matrices all have 4.5 bits has more bits for each parameter.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evoprune import Budget, Fraction, InputError
from problems.transforms.transform import BYTES, Transform


def unlimited_bytes(transform: Transform) -> Budget:
    """Counts the bytes of the file, and limits nothing."""
    return transform.budget(BYTES, None)


def file_bytes(
    transform: Transform,
    *,
    at_most: Annotated[int | None, Field(ge=1, description="bytes of the file of weights, at most")] = None,
    removed: Annotated[Fraction | None, Field(description="share of its bytes to remove, at least")] = None,
) -> Budget:
    """Keep the file of weights small: some bytes ``at_most``, or a share ``removed``."""
    if (at_most is None) == (removed is None):
        raise InputError("bytes needs one of at_most and removed, and not both", "problem.budget")
    limit = at_most or (1 - (removed or 0.0)) * unlimited_bytes(transform).spent(transform.dense)
    return transform.budget(BYTES, limit)


def bits_per_weight(
    transform: Transform,
    *,
    at_most: Annotated[float, Field(gt=0, description="bits of the whole file, divided by the model's parameters")],
) -> Budget:
    """Keep the file at some bits for each parameter of the dense model."""
    return transform.budget(BYTES, at_most, "bits a weight", 8 / transform.resident.parameters)
