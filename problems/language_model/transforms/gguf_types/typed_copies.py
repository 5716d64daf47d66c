"""Quantised copies of matrices in the model, by genes that choose their types."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from typing import Any

from evoprune import Genes, InputError
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms.gguf_types.copies import Copies
from evoprune.problems.language_model.transforms.gguf_types.encodings import Encodings
from evoprune.problems.language_model.transforms.gguf_types.genes import TypeGenes
from evoprune.problems.language_model.transforms.gguf_types.levels import Errors
from evoprune.problems.language_model.transforms.remaining import Left, Remaining
from evoprune.problems.language_model.transforms.shapes import Kinds, Shapes
from evoprune.problems.language_model.transforms.transform import Transform


class TypedCopies(Transform):
    """Puts copies of matrices into the model, in the types that genes choose; no weight is written."""

    def _set_copies(
        self, matrices: Sequence[Matrix], errors: Errors, source: Mapping[str, Encoded],
        sizes: Sequence[Mapping[str, float]],
    ) -> None:  # fmt: skip
        """Set ``matrices``, the ``errors`` of types, the matrices of the ``source``, and the bytes of each type."""
        self.matrices, self.errors, self._source, self.importance = matrices, errors, source, errors.importance
        self._levels = TypeGenes(matrices, self.resident.with_stacks, errors, sizes)
        self._copies = Copies(self.resident, matrices, Encodings(errors.importance), source)

    @property
    def genes(self) -> Genes:
        return self._levels.genes

    @property
    def late(self) -> bool:
        return self.resident.streams

    def fit(self, shapes: Shapes) -> None:
        """Leave the types that parameters cut to ``shapes`` allow. Called before the genes are read."""
        self._levels.fit(shapes)
        if not self.genes.free and not self._source:
            why = "no type fits what cuts may leave: give steps of 32 channels, or of 256 for K-types"
            raise InputError(why, "problem.transforms")

    def apply(self, genome: Sequence[float]) -> None:
        self.lay(genome, lambda: Remaining({}, {}))

    def lift(self) -> None:
        """Put back the weights of the cuts."""
        self._copies.lift()

    def lay(self, genome: Sequence[float], left: Left) -> None:
        """Replace the weights as they are now by their copies in the types of ``genome``."""
        self._copies.lay(self.genes.chosen(genome), left, blank=self._levels.all_types)

    def block_fingerprints(self) -> Sequence[Hashable]:
        return self._copies.fingerprints(1 + self.resident.matrices[-1].block)

    def encoded(self) -> Mapping[str, Encoded]:
        """Return the parameters that a .gguf file of the model now holds in a quantised type, by name."""
        return self._copies.encoded()

    def encode(self, model: Any, genome: Sequence[float], left: Left) -> Mapping[str, Encoded]:
        """As :meth:`encoded`, for the weights of a trained ``model``, in the types of ``genome``."""
        return self._copies.encode(model, self.genes.chosen(genome), left)

    def kinds(self, shapes: Shapes) -> Kinds:
        """Return the types of each parameter, the first dense; its genes come after the genes of ``shapes``."""
        genes = enumerate(zip(self.matrices, self.genes, strict=True), len(shapes.counts))
        return {matrix.parameter: (place, gene.levels) for place, (matrix, gene) in genes}

    def bare(self) -> Transform:
        """The same with all types as levels: their times are not known yet."""
        bare = copy(self)
        bare._levels = self._levels.of_all_types()
        return bare

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        self._levels.use_times(times)
