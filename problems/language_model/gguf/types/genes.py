"""Genes of the transform ``types``: the Pareto-optimal types of each matrix, by bytes or by time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from evoprune import Gene, Genes, InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.types.copies import QuantisedCopy
from evoprune.problems.language_model.gguf.types.errors import Errors
from evoprune.problems.language_model.gguf.types.matrices import DENSE
from evoprune.problems.language_model.gguf.types.source import nearest_type
from evoprune.problems.language_model.transforms.shapes import Shapes


@dataclass(frozen=True)
class TypedMatrix:
    """A matrix with its ``copy`` in the model, and a ``gene`` that chooses its type.

    ``sizes``: the bytes of each type that it may have, in decreasing order; the first is the loaded one.
    """

    copy: QuantisedCopy
    sizes: Mapping[str, float]
    gene: Gene

    @classmethod
    def of(cls, copy: QuantisedCopy, sizes: Mapping[str, float], errors: Errors, all_types: bool = False) -> Self:
        """Levels are the types that are Pareto-optimal in bytes and error, or ``all_types`` of ``sizes``."""
        kinds = [*sizes] if all_types else errors.pareto_levels(copy.matrix, sizes)
        return cls(copy, sizes, errors.gene(copy.matrix, kinds))

    def fitting(self, shapes: Shapes) -> dict[str, float]:
        """Return the sizes of the types whose blocks of weights divide all widths that pruning may leave."""
        matrix = self.copy.matrix
        widths = {shape[-2 if matrix.transposed else -1] for shape in shapes.possible(matrix.parameter)}
        first, *others = self.sizes
        nearest = DENSE if first == DENSE else nearest_type(first, widths) or DENSE
        kept = [kind for kind in others if kind != nearest and all(ggml.fits(kind, width) for width in widths)]
        return {nearest: self.sizes[first]} | {kind: self.sizes[kind] for kind in kept}

    def timed(self, times: Mapping[str, float], errors: Errors) -> Self:
        """Return the matrix with the levels that are Pareto-optimal in ``times``, by type, and error, slowest first."""
        if self.sizes.keys() - times.keys():
            raise ValueError("other types")
        levels = errors.pareto_levels(self.copy.matrix, {kind: times[kind] for kind in self.sizes})
        return replace(self, gene=errors.gene(self.copy.matrix, levels))

    def bits(self, kind: str) -> float:
        """Return the bits of a weight in ``kind``, a type or dense."""
        return level_bits(kind, self.copy.shape[1])

    def level_at_most(self, bits: float) -> float:
        """Return the first level of at most ``bits`` a weight, or the last."""
        levels = self.gene.levels
        return float(next((at for at, kind in enumerate(levels) if self.bits(kind) <= bits), len(levels) - 1))

    def nearest(self, kind: str) -> float:
        """Return the level of ``kind``; if it is no level, the first with no more bits, or the last."""
        levels = self.gene.levels
        return float(levels.index(kind)) if kind in levels else self.level_at_most(self.bits(kind))

    def level_of(self, kind: str) -> float:
        """As :meth:`nearest`. Raises :class:`evoprune.InputError` if no level has as few bits."""
        level = self.nearest(kind)
        if self.bits(self.gene.levels[int(level)]) > self.bits(kind):
            raise InputError(f"{self.copy.matrix.name} cannot be stored in {kind} by problem.transforms")
        return level


class TypeGenes:
    """The genes of ``matrices``, whose levels are types; ``errors``: of the types that they may have.

    ``all_types``: all types are levels, for timing, and not only the Pareto-optimal ones.
    """

    def __init__(self, matrices: Sequence[TypedMatrix], errors: Errors, all_types: bool = False) -> None:
        self.matrices, self._errors, self.all_types = matrices, errors, all_types
        self.genes = Genes(each.gene for each in matrices)

    def fit(self, shapes: Shapes) -> TypeGenes:
        """Return the genes of the types that fit matrices pruned to ``shapes``."""
        fitting = [(each.copy, each.fitting(shapes)) for each in self.matrices]
        matrices = [TypedMatrix.of(copy, sizes, self._errors, self.all_types) for copy, sizes in fitting]
        return TypeGenes(matrices, self._errors, self.all_types)

    def of_all_types(self) -> TypeGenes:
        matrices = [TypedMatrix.of(each.copy, each.sizes, self._errors, all_types=True) for each in self.matrices]
        return TypeGenes(matrices, self._errors, all_types=True)

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> TypeGenes:
        """Return the genes of the types that are worth their ``times``, by matrix and type."""
        timed = [each.timed(times.get(each.copy.matrix.name, {}), self._errors) for each in self.matrices]
        return TypeGenes(timed, self._errors, self.all_types)

    def chosen(self, genome: Sequence[float]) -> list[tuple[QuantisedCopy, str]]:
        """Return each copy with its type in ``genome``."""
        return [(each.copy, kind) for each, kind in zip(self.matrices, self.genes.chosen(genome), strict=True)]

    @property
    def exact_types(self) -> Counter[str]:
        """The number of matrices that each type reproduces exactly, because the source was quantised to it."""
        exact = self._errors.is_exact
        return Counter(kind for each in self.matrices for kind in each.gene.levels[1:] if exact(each.copy.matrix, kind))

    def uniform(self, share: float) -> list[float]:
        """Return the genome with the same bits in all genes, ``share`` of the way from the most to the fewest.

        Each gene has the first level with no more bits, or the last; for a share of 1 all have their last level.
        """
        if share == 1:
            return [gene.up for gene in self.genes]
        steps = sorted({each.bits(kind) for each in self.matrices for kind in each.gene.levels}, reverse=True)
        most = steps[round(share * (len(steps) - 1))]
        return [each.level_at_most(most) for each in self.matrices]

    def nearest(self, kinds: Sequence[str]) -> list[float]:
        """Return the genome of ``kinds``, one for each matrix; see :meth:`TypedMatrix.nearest`."""
        return [each.nearest(kind) for each, kind in zip(self.matrices, kinds, strict=True)]

    def genome_of(self, kinds: Sequence[str]) -> list[float]:
        """As :meth:`nearest`. Raises :class:`evoprune.InputError` if a matrix has no level with as few bits."""
        return [each.level_of(kind) for each, kind in zip(self.matrices, kinds, strict=True)]


def level_bits(kind: str, width: int) -> float:
    """Return the bits of a weight in rows of ``width`` weights in ``kind``, a type or dense."""
    return 16.0 if kind == DENSE else 8 * ggml.row_bytes(kind, width) / width
