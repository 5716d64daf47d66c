"""Matrices of a model that a .gguf file can store in a quantised type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.throughput import Phase
from evoprune.problems.language_model.transforms.form import Encoded

if TYPE_CHECKING:  # they import gguf, which not everyone has
    from evoprune.problems.language_model.gguf.base import Base
    from evoprune.problems.language_model.gguf.names import TensorSpec

DENSE = "16 bits"  # the level that changes nothing: a file stores such a matrix in 16 bits


def typed_matrices(resident: Resident) -> list[Matrix]:
    """Return the embedding, the matrices of blocks and stacks of experts, and the head unless it is tied.

    The block of the embedding is 0, which reads it; the head's is the number after the last.
    """
    model = resident.model
    names = {module: name for name, module in model.named_modules()}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    matrices = [Matrix(names[embedding], 0, names[embedding], embedding), *resident.all_matrices]
    if head is not None and head.weight is not embedding.weight:
        matrices.append(Matrix(names[head], resident.matrices[-1].block + 1, names[head], head))
    return matrices


def is_read_whole(resident: Resident, matrix: Matrix, phase: Phase) -> bool:
    """Return whether a pass reads all of ``matrix``, one of :func:`typed_matrices`, in a relevant part of the time.

    Of an embedding it reads a row for each token. Of a head, tied or not, it reads all rows once: a small part of the
    time of a prompt.
    """
    embedding, head = resident.model.get_input_embeddings(), resident.model.get_output_embeddings()
    if matrix.module is embedding:
        return phase == "decode" and head is not None and head.weight is embedding.weight
    return phase == "decode" or matrix.module is not head


def specs_of(resident: Resident, base: Base) -> dict[str, list[TensorSpec]]:
    """Return the tensors of a .gguf file that hold each of :func:`typed_matrices`, by the matrix's name."""
    from evoprune.problems.language_model.gguf.names import specs_by_parameter

    specs = specs_by_parameter(resident.model, base.architecture, base.conversions)
    return {matrix.name: specs[matrix.parameter] for matrix in typed_matrices(resident)}


def is_smaller(matrix: Matrix, kind: str, source: Encoded | None) -> bool:
    """Return whether ``kind`` fits ``matrix`` and has fewer bytes than its type in the ``source``, if any."""
    rows, width = matrix.rows(matrix.weight).shape
    return ggml.fits(kind, width) and (source is None or rows * ggml.row_bytes(kind, width) < source.data.nbytes)


def check_types(kinds: Iterable[str], matrices: Sequence[Matrix]) -> None:
    """Raise :class:`evoprune.InputError` for one of ``kinds`` that fits none of ``matrices``."""
    widths = sorted({matrix.rows(matrix.weight).shape[1] for matrix in matrices})
    for kind in kinds:
        if not any(ggml.fits(kind, width) for width in widths):
            needs = f"{kind} needs rows of a multiple of {ggml.block_size(kind)} weights"
            raise InputError(f"{needs}; the model's are {', '.join(map(str, widths))}", "problem.transforms.types")
