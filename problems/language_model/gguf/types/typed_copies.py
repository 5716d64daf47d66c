"""Quantised copies of matrices in the model, by genes that choose their types."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from typing import Any

from evoprune import Genes, InputError
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.gguf.types.copies import Copies
from evoprune.problems.language_model.gguf.types.encodings import Encodings
from evoprune.problems.language_model.gguf.types.errors import Errors
from evoprune.problems.language_model.gguf.types.genes import TypeGenes
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms.shapes import Kinds, Shapes
from evoprune.problems.language_model.transforms.transform import Remaining, Transform


class TypedCopies(Transform):
    """Swaps quantised copies of matrices into the model, in the types that genes choose; no weight is written.

    In a stack they come last: they are swapped out before other transforms are applied, and made from the remaining
    weights.
    """

    def _set_copies(
        self, matrices: Sequence[Matrix], errors: Errors, source: Mapping[str, Encoded],
        sizes: Sequence[Mapping[str, float]],
    ) -> None:  # fmt: skip
        """Set ``matrices``, the ``errors`` of types, the matrices of the ``source``, and the bytes of each type."""
        self.matrices, self.errors, self._source = matrices, errors, source
        self._type_genes = TypeGenes(matrices, errors, sizes)
        self._copies = Copies(self.resident, matrices, Encodings(errors.importance), source)

    @property
    def genes(self) -> Genes:
        return self._type_genes.genes

    @property
    def lazy(self) -> bool:
        return self.resident.streams

    def fit(self, shapes: Shapes) -> None:
        """Keep the types that fit parameters pruned to ``shapes``. Called before the genes are read."""
        self._type_genes.fit(shapes)
        if not self.genes.free and not self._source:
            why = "no type fits what cuts may leave: give steps of 32 channels, or of 256 for K-types"
            raise InputError(why, "problem.transforms")

    def apply(self, genome: Sequence[float]) -> None:
        self.swap_out()
        self.swap_in(genome, Remaining({}, {}))

    def swap_out(self) -> None:
        """Put back the weights without types."""
        self._copies.swap_out()

    def swap_in(self, genome: Sequence[float], remaining: Remaining) -> None:
        """Replace the present weights by their copies in the types of ``genome``."""
        self._copies.swap_in(self.genes.chosen(genome), remaining, blank=self._type_genes.all_types)

    def block_fingerprints(self) -> Sequence[Hashable]:
        return self._copies.fingerprints(1 + self.resident.matrices[-1].block)

    def encoded(self) -> Mapping[str, Encoded]:
        """Return the parameters of the model that are quantised now, by name."""
        return self._copies.encoded()

    def encode(self, model: Any, genome: Sequence[float], remaining: Remaining) -> Mapping[str, Encoded]:
        """As :meth:`encoded`, for the weights of a trained ``model``, in the types of ``genome``."""
        return self._copies.encode(model, self.genes.chosen(genome), remaining)

    def kinds(self, shapes: Shapes) -> Kinds:
        """Return the types of each parameter, the first dense; its genes come after the genes of ``shapes``."""
        genes = enumerate(zip(self.matrices, self.genes, strict=True), len(shapes.counts))
        return {matrix.parameter: (place, gene.levels) for place, (matrix, gene) in genes}

    def bare(self) -> Transform:
        """As :meth:`Transform.bare`: all types are levels."""
        bare = copy(self)
        bare._type_genes = self._type_genes.of_all_types()
        return bare

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        self._type_genes.use_times(times)
