"""The interface of transforms that store the weights that cuts leave in other types."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from evoprune import Term
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.transforms.latency import Timer
from evoprune.problems.language_model.transforms.shapes import Kinds, Shapes
from evoprune.problems.language_model.transforms.transform import Transform

if TYPE_CHECKING:
    from evoprune.problems.language_model.transforms.stack_costs import StackCosts


class Remaining(NamedTuple):
    """Indices of the inputs and rows that remain in pruned matrices, see :class:`.transform.ModelChange`."""

    inputs: Mapping[str, torch.Tensor]
    rows: Mapping[str, torch.Tensor]


Left = Callable[[], Remaining]

Beside = Callable[[tuple[int, ...]], float]
"""The bytes of a file in addition to the terms, by the levels of the genes that cut; see :class:`evoprune.Coupled`."""


def put_encoded(matrix: Matrix, encoded: Encoded) -> None:
    """Give ``matrix`` the values of ``encoded``, which has the same shape."""
    width = matrix.rows(matrix.weight).shape[1]
    matrix.weight.data.copy_(matrix.laid_out(torch.from_numpy(ggml.dequantize(encoded.data, encoded.kind, width))))


class Overlay(Transform):
    """Swaps quantised copies into the model, and writes into no weight.

    In a stack it comes last: it is lifted before cuts are applied, and laid on the remaining weights.
    """

    replayed = False
    base: str | None
    """The .gguf file of the dense model, if the settings name one: exports copy its tokenizer."""
    importance: Mapping[str, torch.Tensor] = MappingProxyType({})
    """The importance of the inputs of matrices, by name, that types are made with; empty for none."""

    @property
    def parts(self) -> frozenset[str]:
        return frozenset({"form"})

    def apply(self, genome: Sequence[float]) -> None:
        self.lay(genome, lambda: Remaining({}, {}))

    def bare(self) -> Transform:
        return self

    @abstractmethod
    def fit(self, shapes: Shapes) -> None:
        """Leave levels out that parameters cut to ``shapes`` do not allow. Called before the genes are read."""

    @abstractmethod
    def lift(self) -> None:
        """Put back the weights of the cuts."""

    @abstractmethod
    def lay(self, genome: Sequence[float], left: Left) -> None:
        """Replace the weights as they are now by their copies in the types of ``genome``."""

    @abstractmethod
    def encoded(self) -> Mapping[str, Encoded]:
        """Return the parameters that a .gguf file of the model now holds in a quantised type, by name."""

    @abstractmethod
    def encode(self, model: Any, genome: Sequence[float], left: Left) -> Mapping[str, Encoded]:
        """As :meth:`encoded`, for the weights of a trained ``model``, in the types of ``genome``."""

    @abstractmethod
    def kinds(self, shapes: Shapes) -> Kinds:
        """Return the types of each parameter, the first dense; its genes come after the genes of ``shapes``."""

    @abstractmethod
    def byte_terms(
        self, shapes: Shapes, vocabularies: Mapping[int, Sequence[Sequence[int] | None]]
    ) -> tuple[list[Term], Beside]:
        """Return the bytes of a file, by the genes that cut to ``shapes``, and then by the genes of types.

        ``vocabularies``: :attr:`Transform.vocabularies`, by the place of the gene.
        """

    @abstractmethod
    def timer(self, whole: StackCosts, load: Load, cuts: Sequence[Any]) -> Timer:
        """Return the timer of ``whole``, the stack that it is in. ``cuts``: the kind of each gene that cuts."""
