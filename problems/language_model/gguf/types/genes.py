"""Genes of the transform ``types``: the Pareto-optimal types of each matrix, by bytes or by time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace

from evoprune import Gene, Genes
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.gguf.types.errors import Errors
from evoprune.problems.language_model.gguf.types.matrices import DENSE
from evoprune.problems.language_model.gguf.types.source import nearest_type
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms.shapes import Shapes


class TypeGenes:
    """A gene for each of ``matrices``, whose levels are types.

    ``errors``: of the types that matrices may have; ``sizes``: the bytes of each matrix in each type, in decreasing
    order.
    """

    def __init__(self, matrices: Sequence[Matrix], errors: Errors, sizes: Sequence[Mapping[str, float]]) -> None:
        self._matrices, self._errors, self._sizes = matrices, errors, sizes
        self.all_types = False
        """True if all types are levels, and not only the Pareto-optimal ones."""
        self.genes = self._of_sizes()

    def fit(self, shapes: Shapes) -> None:
        """Keep the types whose blocks of weights divide all widths that pruning may leave."""
        fitting = []
        for matrix, sizes in zip(self._matrices, self._sizes, strict=True):
            widths = {shape[-2 if matrix.transposed else -1] for shape in shapes.possible(matrix.parameter)}
            first, *others = sizes
            nearest = DENSE if first == DENSE else nearest_type(first, widths) or DENSE
            kept = [kind for kind in others if kind != nearest and all(ggml.fits(kind, width) for width in widths)]
            fitting.append({nearest: sizes[first]} | {kind: sizes[kind] for kind in kept})
        self._sizes = fitting
        self.genes = self._of_sizes()

    def of_all_types(self) -> TypeGenes:
        """Return the genes with all types as levels, for timing."""
        genes = copy(self)
        genes.all_types = True
        genes.genes = genes._of_sizes()
        return genes

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        """Keep the types that are Pareto-optimal in time and error, slowest first."""
        costs = []
        for matrix, sizes in zip(self._matrices, self._sizes, strict=True):
            of_matrix = times.get(matrix.name, {})
            if sizes.keys() - of_matrix.keys():
                raise ValueError("other types")
            costs.append({kind: of_matrix[kind] for kind in sizes})
        self.genes = self._pareto_optimal(costs)

    @property
    def exact_types(self) -> Counter[str]:
        """The number of matrices that each type reproduces exactly, because the source was quantised to it."""
        return Counter(
            kind
            for matrix, gene in zip(self._matrices, self.genes, strict=True)
            for kind in gene.levels[1:]
            if self._errors.is_exact(matrix, kind)
        )

    def _of_sizes(self) -> Genes:
        if self.all_types:
            return self._of_levels([[*sizes] for sizes in self._sizes])
        return self._pareto_optimal(self._sizes)

    def _pareto_optimal(self, costs: Sequence[Mapping[str, float]]) -> Genes:
        both = zip(self._matrices, costs, strict=True)
        return self._of_levels([self._errors.pareto_levels(matrix, of_matrix) for matrix, of_matrix in both])

    def _of_levels(self, levels: Sequence[Sequence[str]]) -> Genes:
        genes, absolute = [], self._errors.harms
        for matrix, kinds in zip(self._matrices, levels, strict=True):
            harms = [0.0, *((absolute or self._errors.relative)[matrix.name, kind] for kind in kinds[1:])]
            gene = Gene.of_levels(matrix.name, kinds, harms if any(harms) else [])
            genes.append(replace(gene, absolute=bool(absolute and gene.harms)))
        return Genes(genes)


def is_smaller(matrix: Matrix, kind: str, source: Mapping[str, Encoded]) -> bool:
    """Return whether ``kind`` fits ``matrix`` and has fewer bytes than its type in the ``source``, if any."""
    rows, width = matrix.rows(matrix.weight).shape
    own = source.get(matrix.name)
    return ggml.fits(kind, width) and (own is None or rows * ggml.row_bytes(kind, width) < own.data.nbytes)
