"""Genes that are sparsities, and the sparsity of each group of matrices in a genome."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from evoprune import Gene, Genes
from evoprune.plugins import solve
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings

_SPREAD = 0.15  # of sparsities in random genomes, on each side of the uniform sparsity
_SCALE = 1.0  # steps of operators are shares of sparsity 1, whatever the bounds
_REACH = 0.3  # largest difference in sparsity between a kind of matrix and its block


@dataclass(frozen=True)
class Group:
    """Matrices that are pruned to the same sparsity."""

    name: str
    matrices: tuple[Matrix, ...]

    @property
    def size(self) -> int:
        return sum(matrix.size for matrix in self.matrices)


def group_matrices(matrices: Sequence[Matrix], genes: str) -> list[Group]:
    """Return the groups for the setting ``genes``: the matrices of each block, or each matrix alone."""
    if genes in {"matrix", "block_and_kind"}:
        return [Group(matrix.name, (matrix,)) for matrix in matrices]
    return [Group(f"block {block}", tuple(members)) for block, members in groupby(matrices, key=lambda m: m.block)]


class Sparsities:
    """A gene for each group: its sparsity."""

    def __init__(self, matrices: Sequence[Matrix], settings: WeightsSettings) -> None:
        self._low, self._up = settings.min_sparsity, settings.max_sparsity
        self.groups = group_matrices(matrices, settings.genes)
        self.genes = Genes.real([group.name for group in self.groups], self._low, self._up, _SCALE)
        self.gene_sizes = [float(group.size) for group in self.groups]
        """Weights that a gene removes per unit of its value."""
        self._spreads = [_SPREAD] * len(self.genes)

    def uniform(self, sparsity: float) -> list[float]:
        return [sparsity] * len(self.genes)

    def random_near(self, sparsity: float) -> list[float]:
        """Draw a genome around the uniform ``sparsity``, from the global :mod:`random`."""
        return [
            random.uniform(max(gene.low, value - spread), min(gene.up, value + spread))
            for gene, value, spread in zip(self.genes, self.uniform(sparsity), self._spreads, strict=True)
        ]

    def group_sparsities(self, genome: Sequence[float]) -> Sequence[float]:
        """Return the sparsity of each group."""
        return genome


class BlockAndKind(Sparsities):
    """A gene for each block, and for each kind of matrix a gene that is added to the block's sparsity.

    Sums are clipped to ``min_sparsity`` and ``max_sparsity``, and all other matrices compensate equally. If all kinds
    are 0, nothing is clipped, because the dense and uniform genomes may be out of bounds.
    """

    def __init__(self, matrices: Sequence[Matrix], settings: WeightsSettings) -> None:
        super().__init__(matrices, settings)
        self._group_sizes = self.gene_sizes
        blocks = list(dict.fromkeys(matrix.block for matrix in matrices))
        kinds = list(dict.fromkeys(matrix.kind for matrix in matrices))
        self._blocks = len(blocks)
        self._places = [(blocks.index(m.block), len(blocks) + kinds.index(m.kind)) for m in matrices]
        of_blocks = [Gene(f"block {block}", self._low, self._up, scale=_SCALE) for block in blocks]
        self.genes = Genes([*of_blocks, *(Gene(kind, -_REACH, _REACH, scale=_SCALE) for kind in kinds)])
        self.gene_sizes = [0.0] * len(self.genes)
        for genes, size in zip(self._places, self._group_sizes, strict=True):
            for gene in genes:
                self.gene_sizes[gene] += size
        self._spreads = [_SPREAD] * len(blocks) + [_SPREAD / 2] * len(kinds)

    def uniform(self, sparsity: float) -> list[float]:
        return [sparsity] * self._blocks + [0.0] * (len(self.genes) - self._blocks)

    def group_sparsities(self, genome: Sequence[float]) -> Sequence[float]:
        low, up = self._low, self._up
        sums = [genome[block] + genome[kind] for block, kind in self._places]
        if all(low <= value <= up for value in sums) or not any(genome[self._blocks :]):
            return sums
        budget = sum(gene * weight for gene, weight in zip(genome, self.gene_sizes, strict=True))

        def clipped(shift: float) -> list[float]:
            return [min(max(value + shift, low), up) for value in sums]

        def removed_at(shift: float) -> float:
            return sum(value * size for value, size in zip(clipped(shift), self._group_sizes, strict=True))

        return clipped(solve(removed_at, budget, -1.0 - _REACH, 1.0 + _REACH))
