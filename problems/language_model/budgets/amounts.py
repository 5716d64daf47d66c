"""The budgets in weights, parameters, bytes, operations and tokens."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from evoprune import Additive, Budget, Fraction, InputError
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.transforms.costs import ATTENTION, BYTES, PARAMETERS, WEIGHTS
from evoprune.problems.language_model.transforms.stack import Stack

LENGTH = 512  # the tokens of a sequence by default


def weights(
    transform: Stack,
    *,
    removed: Annotated[Fraction | None, Field(description="share of the blocks' weights to remove")] = None,
) -> Budget:
    """Remove a share of the weights in the blocks' matrices."""
    counted = transform.budget(WEIGHTS, None)
    if removed is not None and isinstance(counted, Additive) and not transform.genes.with_levels:
        whole = counted.spent(transform.dense) / counted.scale  # exactly 1 where genes are shares of the weights
        prices, fixed = transform.costs(WEIGHTS)
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
    return transform.budget(PARAMETERS, None if removed is None else whole - removed * blocks)


def _with_share(transform: Stack, counted: Budget, removed: float | None) -> Budget:
    """Return ``counted`` with the limit that removes a share of the dense model's amount; None for no limit."""
    if removed is None:
        return counted
    return transform.budget(counted.unit, (1 - removed) * counted.spent(transform.dense))


def file_bytes(
    transform: Stack,
    *,
    at_most: Annotated[int | None, Field(ge=1, description="bytes of the file of weights, at most")] = None,
    removed: Annotated[Fraction | None, Field(description="share of its bytes to remove, at least")] = None,
) -> Budget:
    """Keep the file of weights small: some bytes ``at_most``, or a share ``removed``."""
    if at_most is not None and removed is not None:
        raise InputError("bytes needs one of at_most and removed, and not both", "problem.budget")
    return _with_share(transform, transform.budget(BYTES, at_most), removed)


def bits_per_weight(
    transform: Stack,
    *,
    at_most: Annotated[
        float | None, Field(gt=0, description="bits of the whole file, divided by the model's parameters")
    ] = None,
) -> Budget:
    """Keep the file at some bits for each parameter of the dense model."""
    return transform.budget(BYTES, at_most, "bits a weight", 8 / transform.resident.parameters)


def tokens(
    transform: Stack,
    *,
    at_most: Annotated[int | None, Field(ge=1, description="tokens of the vocabulary, at most")] = None,
) -> Budget:
    """Keep the vocabulary small; for the transform ``vocabulary``."""
    rows = len(transform.resident.model.get_input_embeddings().weight)
    counts = [
        [0.0 if kept is None else float(len(kept) - rows) for kept in each.vocabularies] or 0.0
        for each in transform.transforms
        for _ in each.genes
    ]
    if not any(counts):
        raise InputError("tokens needs the transform vocabulary", "problem.budget")
    return Additive(transform.genes, counts, at_most, "tokens", rows)


def operations(
    transform: Stack,
    *,
    removed: Annotated[
        Fraction | None, Field(description="share of the blocks' operations to remove, at least")
    ] = None,
    length: Annotated[int, Field(ge=1, description="tokens of the sequences; attention costs more in longer ones")] = (
        LENGTH
    ),
) -> Budget:
    """Remove a share of the blocks' floating-point operations, see :func:`counted`; all of the head stay."""
    if transform.resident.mixtures:
        raise InputError("operations of a mixture of experts are not counted yet: use parameters", "problem.budget")

    def counted_of(weights: Any, widths: Any) -> Any:
        if isinstance(weights, Sequence):
            return list(map(counted_of, weights, widths))
        return counted(1, 0, length) * weights + counted(0, 1, length) * widths

    costs = transform.costs(WEIGHTS), transform.costs(ATTENTION)
    prices, blocks = (counted_of(*of_both) for of_both in zip(*costs, strict=True))
    head = counted(_head_weights(transform.resident), 0, length)
    limit = None if removed is None else head + (1 - removed) * blocks
    return Additive(transform.genes, prices, limit, "operations", head + blocks)


def counted(weights: float, attention_width: float, length: int) -> float:
    """Return the floating-point operations a token of a forward pass, on average over ``length`` tokens.

    2 N + 2 n_layer n_ctx d_attn (Kaplan et al., "Scaling laws for neural language models", 2020, section 2.1): two for
    each of the ``weights``, zeros too; attention sees ``length / 2`` tokens on average. Norms, biases, activations and
    softmax are not counted.
    """
    return 2 * weights + 2 * length * attention_width


def _head_weights(resident: Resident) -> int:
    head = resident.model.get_output_embeddings()
    return 0 if head is None else int(head.weight.numel())


def of_model(resident: Resident, length: int = LENGTH) -> float:
    """Return the operations a token of the model as it is now, see :func:`counted`, counted in its layers."""
    running = set(resident.model.modules())
    weights = sum(matrix.size for matrix in resident.matrices if matrix.module in running)
    return counted(weights + _head_weights(resident), resident.attention_width, length)
