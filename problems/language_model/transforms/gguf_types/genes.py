"""The genes of the transform ``types``: the types that are worth their bytes or their time for each matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace

from evoprune import Gene, Genes
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms.gguf_types.levels import Errors
from evoprune.problems.language_model.transforms.gguf_types.matrices import DENSE
from evoprune.problems.language_model.transforms.gguf_types.source import nearest_type
from evoprune.problems.language_model.transforms.shapes import Shapes


class TypeGenes:
    """A gene for each of ``matrices``; its levels are types.

    ``blocks``: the matrices in blocks; ``errors``: of the types that they may have; ``sizes``: the bytes of each matrix
    in each type that it may have, from more to fewer.
    """

    def __init__(
        self, matrices: Sequence[Matrix], blocks: Sequence[Matrix], errors: Errors, sizes: Sequence[Mapping[str, float]]
    ) -> None:
        self._matrices, self._blocks, self._errors, self._sizes = matrices, blocks, errors, sizes
        self.all_types = False
        """Whether types that another one matches are levels too."""
        self.genes = self._of_sizes()

    def fit(self, shapes: Shapes) -> None:
        """Leave the types whose blocks of weights divide all widths that may be left."""
        fitting = []
        for matrix, own in zip(self._matrices, self._sizes, strict=True):
            widths = {shape[-2 if matrix.transposed else -1] for shape in shapes.possible(matrix.parameter)}
            first, *others = own
            nearest = DENSE if first == DENSE else nearest_type(first, widths) or DENSE
            kept = [kind for kind in others if kind != nearest and all(ggml.fits(kind, width) for width in widths)]
            fitting.append({nearest: own[first]} | {kind: own[kind] for kind in kept})
        self._sizes = fitting
        self.genes = self._of_sizes()

    def of_all_types(self) -> TypeGenes:
        """The same with all types as levels, from more to fewer bytes: which are worth their time is not known."""
        every = copy(self)
        every.all_types = True
        every.genes = every._of_sizes()
        return every

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        """Leave the types that no other one matches in time and in error, slowest first."""
        costs = []
        for matrix, sizes in zip(self._matrices, self._sizes, strict=True):
            of_matrix = times.get(matrix.name, {})
            if sizes.keys() - of_matrix.keys():
                raise ValueError("other types")
            costs.append({kind: of_matrix[kind] for kind in sizes})
        self.genes = self._worth(costs)

    @property
    def reproduced(self) -> Counter[str]:
        """The number of matrices that each type reproduces, since the source was stored in such a type."""
        return Counter(
            kind
            for matrix, gene in zip(self._matrices, self.genes, strict=True)
            for kind in gene.levels[1:]
            if self._errors.is_exact(matrix, kind)
        )

    def _of_sizes(self) -> Genes:
        if self.all_types:
            return self._of_levels([[*own] for own in self._sizes])
        return self._worth(self._sizes)

    def _worth(self, costs: Sequence[Mapping[str, float]]) -> Genes:
        """The types of each matrix that no other one matches in ``costs`` and in error."""
        both = zip(self._matrices, costs, strict=True)
        return self._of_levels([self._errors.worth(matrix, own) for matrix, own in both])

    def _of_levels(self, found: Sequence[Sequence[str]]) -> Genes:
        genes = []
        for matrix, kinds in zip(self._matrices, found, strict=True):
            known = self._errors.harms
            harms = [0.0, *((known or self._errors.relative)[matrix.name, kind] for kind in kinds[1:])]
            group = f"block {matrix.block}" if matrix in self._blocks else matrix.name
            gene = Gene.of_levels(matrix.name, kinds, group, harms if any(harms) else [])
            genes.append(replace(gene, absolute=bool(known and gene.harms)))
        return Genes(genes)


def may_be(matrix: Matrix, kind: str, source: Mapping[str, Encoded]) -> bool:
    """Return whether ``kind`` fits ``matrix``, and is smaller than its type in the ``source``."""
    rows, width = matrix.rows(matrix.weight).shape
    own = source.get(matrix.name)
    return ggml.fits(kind, width) and (own is None or rows * ggml.row_bytes(kind, width) < own.data.nbytes)
