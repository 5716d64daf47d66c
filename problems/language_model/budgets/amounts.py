"""Budgets in weights, parameters, bytes and tokens."""

from typing import Annotated

from pydantic import Field

from evoprune import Additive, Budget, Fraction, InputError
from evoprune.problems.language_model.budgets import BITS_A_WEIGHT
from evoprune.problems.language_model.transforms.costs import BYTES, PARAMETERS, WEIGHTS
from evoprune.problems.language_model.transforms.stack import Stack


def weights(
    transform: Stack,
    *,
    removed: Annotated[Fraction | None, Field(description="share of the blocks' weights to remove")] = None,
) -> Budget:
    """Remove a share of the weights in the blocks' matrices."""
    counted = transform.costs.budget(WEIGHTS, None)
    if removed is not None and isinstance(counted, Additive) and not transform.genes.with_levels:
        whole = counted.spent(transform.dense) / counted.scale  # exactly 1 if genes are shares of the weights
        prices, fixed = transform.costs.additive(WEIGHTS)
        return Additive.at_share(transform.genes, prices, -removed * whole, WEIGHTS, fixed)
    return _with_share(transform, counted, removed)


def parameters(
    transform: Stack,
    *,
    removed: Annotated[
        Fraction | None, Field(description="share of the blocks' parameters to remove, at least")
    ] = None,
) -> Budget:
    """Remove a share of the parameters in the blocks, without embeddings and head."""
    whole, blocks = transform.resident.parameters, transform.resident.block_parameters
    return transform.costs.budget(PARAMETERS, None if removed is None else whole - removed * blocks)


def _with_share(transform: Stack, counted: Budget, removed: float | None) -> Budget:
    """Return ``counted`` with the limit that removes a share of the dense model's cost; None for no limit."""
    if removed is None:
        return counted
    return transform.costs.budget(counted.unit, (1 - removed) * counted.spent(transform.dense))


def file_bytes(
    transform: Stack,
    *,
    at_most: Annotated[int | None, Field(ge=1, description="bytes of the file of weights, at most")] = None,
    removed: Annotated[Fraction | None, Field(description="share of its bytes to remove, at least")] = None,
) -> Budget:
    """Limit the bytes of the file of weights, in number or by a share."""
    if at_most is not None and removed is not None:
        raise InputError("bytes needs one of at_most and removed, and not both", "problem.budget")
    return _with_share(transform, transform.costs.budget(BYTES, at_most), removed)


def bits_per_weight(
    transform: Stack,
    *,
    at_most: Annotated[
        float | None, Field(gt=0, description="bits of the whole file, divided by the model's parameters")
    ] = None,
) -> Budget:
    """Limit the bits of the file per parameter of the dense model."""
    return transform.costs.budget(BYTES, at_most, BITS_A_WEIGHT, 8 / transform.resident.parameters)


def tokens(
    transform: Stack,
    *,
    at_most: Annotated[int | None, Field(ge=1, description="tokens of the vocabulary, at most")] = None,
) -> Budget:
    """Limit the size of the vocabulary; for the transform ``vocabulary``."""
    rows = len(transform.resident.model.get_input_embeddings().weight)
    counts = [
        [0.0 if kept is None else float(len(kept) - rows) for kept in each.vocabularies] or 0.0
        for each in transform.transforms
        for _ in each.genes
    ]
    if not any(counts):
        raise InputError("tokens needs the transform vocabulary", "problem.budget")
    return Additive(transform.genes, counts, at_most, "tokens", rows)
