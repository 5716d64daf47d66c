"""Forms in which matrices are stored, such as GGUF types, and matrices as a file stores them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from evoprune import InputError, Term
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.transforms.latency import GenomeModel, Timer
from evoprune.problems.language_model.transforms.shapes import Kinds, Shapes
from evoprune.problems.language_model.transforms.transform import KeptIndices, Transform

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Encoded(ABC):
    """A matrix as a file stores it: its type ``kind``, and ``data`` ``(out, bytes of a row)``.

    Rows are outputs, in the model's order, even if the layer stores its weight ``(in, out)``. Blocks of weights may
    have scales, which can be trained while the codes stay.
    """

    kind: str
    data: Bytes

    def with_data(self, data: Bytes) -> Self:
        """Return a matrix of the same type with other ``data``."""
        return replace(self, data=data)

    @abstractmethod
    def put_into(self, matrix: Matrix) -> None:
        """Set the weight of ``matrix``, of the same shape, to the values."""

    @abstractmethod
    def compensated(self, rows: torch.Tensor, gram: torch.Tensor) -> Self:
        """Return ``rows`` ``(out, in)`` in the same type, with rounding errors that compensate each other (GPTQ).

        ``gram`` ``(in, in)``: the mean of x x^T over the inputs.
        """

    @property
    @abstractmethod
    def has_scales(self) -> bool:
        """True if blocks have scales in 16 bits; the methods below are for these types alone."""

    @property
    @abstractmethod
    def scales(self) -> Floats:
        """The fields of each block ``(fields, rows, blocks)``: its scale, and in some types its minimum."""

    @abstractmethod
    def with_scales(self, scales: Floats) -> Self:
        """Return the same codes with other ``scales``, as of :attr:`scales`, rounded to float16."""

    @abstractmethod
    def codes(self, width: int) -> list[tuple[NDArray[np.signedinteger], int]]:
        """Return for each field its codes ``(rows, width)``, as whole numbers, and the divisor of the codes."""


class Form(Transform):
    """Chooses the form in which a file stores each of ``matrices``: a gene is a matrix, and its levels are types.

    Comes last in a stack, where it is swapped out before other transforms are applied, and made from the remaining
    weights. It writes no weight: copies of the matrices are swapped in. With other transforms, bytes are those of
    :meth:`file_costs`.
    """

    parts = frozenset({"form"})
    replayed = False
    zeros_refused: ClassVar[str] = "zeros save no byte in this form"
    """Why the form cannot be combined with transforms that leave zeros, for people."""

    matrices: Sequence[Matrix]
    """The matrix of each gene."""

    @property
    def lazy(self) -> bool:
        return self.resident.streams

    def apply(self, genome: Sequence[float]) -> None:
        self.swap_out()
        self.swap_in(genome, KeptIndices({}, {}))

    def kinds(self, shapes: Shapes) -> Kinds:
        """Return the types of each parameter, the first dense; its genes come after the genes of ``shapes``."""
        genes = enumerate(zip(self.matrices, self.genes, strict=True), len(shapes.counts))
        return {matrix.parameter: (place, gene.levels) for place, (matrix, gene) in genes}

    @abstractmethod
    def fit(self, shapes: Shapes) -> None:
        """Keep the types that fit parameters pruned to ``shapes``. Called before the genes are read."""

    @abstractmethod
    def swap_out(self) -> None:
        """Put back the weights, loaded or pruned, in place of their copies."""

    @abstractmethod
    def swap_in(self, genome: Sequence[float], kept: KeptIndices) -> None:
        """Replace the present weights by their copies in the types of ``genome``."""

    @abstractmethod
    def encoded(self) -> Mapping[str, Encoded]:
        """Return the parameters of the model that are quantised now, by name."""

    @abstractmethod
    def encode(self, model: Any, genome: Sequence[float], kept: KeptIndices) -> Mapping[str, Encoded]:
        """Quantise a trained ``model`` to the types of ``genome``, in place; return as :meth:`encoded`."""

    @abstractmethod
    def file_costs(
        self, shapes: Shapes, vocabularies: Mapping[int, Sequence[Sequence[int] | None]]
    ) -> tuple[Sequence[Term], Callable[[tuple[int, ...]], float]]:
        """Return the bytes of a file by the genes that prune to ``shapes``, followed by those of the form.

        Terms, and the rest by the levels of the genes that prune. ``vocabularies``: :attr:`Transform.vocabularies`, by
        the place of the gene. The model is dense.
        """

    @abstractmethod
    def timer(self, model: GenomeModel, load: Load, cuts: Sequence[Any]) -> Timer:
        """Return the timer of ``model``, which has the form; ``cuts``: the class of each gene that prunes."""


def check_pair(one: Transform, other: Transform) -> None:
    """Raise :class:`evoprune.InputError` if two transforms change the same part, or exclude each other."""
    names = f"{type(one).__name__} and {type(other).__name__}"
    for form, cut in ((one, other), (other, one)):
        if isinstance(form, Form) and cut.sparse:
            raise InputError(f"{names}: {form.zeros_refused}; leave one of the two out", "problem.transforms")
    if any(each.sparse and each.updates for each in (one, other)):  # on dense text; cached by their own genes alone
        why = "reconstruct updates the weights of a model without other changes; leave one out, or reconstruct: none"
        raise InputError(f"{names}: {why}", "problem.transforms")
    if both := one.parts & other.parts:
        shared = " and the ".join(sorted(both))
        raise InputError(f"{names} both change the {shared}: choose one or drop: false", "problem.transforms")
