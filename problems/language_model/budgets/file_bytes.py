"""The budget in bytes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evoprune import Additive, Budget, Fraction, InputError
from problems.language_model.transform import PARAMETERS, Transform, summed_prices


def file_bytes(
    transform: Transform,
    *,
    at_most: Annotated[int | None, Field(ge=1, description="bytes of the file of weights, at most")] = None,
    removed: Annotated[Fraction | None, Field(description="share of its bytes to remove, at least")] = None,
) -> Budget:
    """Keep the file of weights small: some bytes ``at_most``, or a share ``removed``.

    It is in the number format that the model runs in. All parameters count, those of embeddings and head too. The
    file's header, some kB, and the tokenizer do not. Raises :class:`evoprune.InputError` unless one of both is given.
    """
    if (at_most is None) == (removed is None):
        raise InputError("bytes needs one of at_most and removed, and not both", "problem.budget")
    resident = transform.resident
    size = resident.model.dtype.itemsize
    limit = at_most if at_most is not None else (1 - (removed or 0.0)) * size * resident.parameters
    prices, fixed = summed_prices(transform, {PARAMETERS: size})
    return Additive(transform.genes, prices, limit, "bytes", fixed)
