"""An overlay of quantised copies: the genes of types, and the copies in the model."""

from __future__ import annotations

from collections import Counter
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
from evoprune.problems.language_model.transforms.overlay import Left, Overlay
from evoprune.problems.language_model.transforms.shapes import Kinds, Shapes
from evoprune.problems.language_model.transforms.transform import Transform


class TypedCopies(Overlay):
    """Puts copies of matrices in the types that genes choose into the model."""

    def _set_copies(
        self, matrices: Sequence[Matrix], errors: Errors, source: Mapping[str, Encoded],
        sizes: Sequence[Mapping[str, float]],
    ) -> bool:  # fmt: skip
        """Set ``matrices`` in types of known ``errors`` and of the ``source``; return whether a gene has a choice.

        ``sizes``: as of :class:`.genes.TypeGenes`.
        """
        self.matrices, self.errors, self._source, self.importance = matrices, errors, source, errors.importance
        self._levels = TypeGenes(matrices, self.resident.with_stacks, errors, sizes)
        self._copies = Copies(self.resident, matrices, Encodings(errors.importance), source)
        return bool(self.genes.free)

    @property
    def genes(self) -> Genes:
        return self._levels.genes

    @property
    def late(self) -> bool:
        return self.resident.streams

    @property
    def reproduced(self) -> Counter[str]:
        """The number of matrices that each type reproduces, since the source was stored in such a type."""
        return self._levels.reproduced

    def fit(self, shapes: Shapes) -> None:
        """Leave the types whose blocks of weights divide all widths that may remain."""
        self._levels.fit(shapes)
        if not self.genes.free and not self._source:
            raise InputError(
                "no type fits what cuts may leave of the matrices: types need rows of a multiple of 32 weights, "
                "K-types of 256; give steps of as many channels",
                "problem.transforms",
            )

    def lift(self) -> None:
        self._copies.lift()

    def lay(self, genome: Sequence[float], left: Left) -> None:
        self._copies.lay(self.genes.chosen(genome), left, blank=self._levels.all_types)

    def block_fingerprints(self) -> Sequence[Hashable]:
        return self._copies.fingerprints(1 + self.resident.matrices[-1].block)

    def encoded(self) -> Mapping[str, Encoded]:
        return self._copies.encoded()

    def encode(self, model: Any, genome: Sequence[float], left: Left) -> Mapping[str, Encoded]:
        return self._copies.encode(model, self.genes.chosen(genome), left)

    def kinds(self, shapes: Shapes) -> Kinds:
        genes = enumerate(zip(self.matrices, self.genes, strict=True), len(shapes.counts))
        return {matrix.parameter: (place, gene.levels) for place, (matrix, gene) in genes}

    def bare(self) -> Transform:
        """The same with all types as levels, from more to fewer bytes: their times are not known yet."""
        bare = copy(self)
        bare._levels = self._levels.of_all_types()
        return bare

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        self._levels.use_times(times)
