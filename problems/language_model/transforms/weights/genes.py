"""The genes of sparsities: groups of matrices, and the sparsity of each group in a genome."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from evoprune import Gene, Genes
from evoprune.interfaces.budget import solve
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings

_SPREAD = 0.15  # of sparsities in random genomes, to each side of the uniform one
_POINTS = 1.0  # steps are in points of sparsity, whatever the bounds
_REACH = 0.3  # the largest difference in sparsity between a kind of matrix and its block


@dataclass(frozen=True)
class Group:
    """The matrices that lose the same share of their weights."""

    name: str
    matrices: tuple[Matrix, ...]

    @property
    def size(self) -> int:
        return sum(matrix.size for matrix in self.matrices)


def group(matrices: Sequence[Matrix], genes: str) -> list[Group]:
    """Return the groups for the setting ``genes``: the matrices of a block, or each matrix alone."""
    if genes in {"matrix", "block_and_kind"}:
        return [Group(matrix.name, (matrix,)) for matrix in matrices]
    return [Group(f"block {block}", tuple(members)) for block, members in groupby(matrices, key=lambda m: m.block)]


class Sparsities:
    """One gene for each group: its sparsity."""

    def __init__(self, matrices: Sequence[Matrix], settings: WeightsSettings) -> None:
        self._low, self._up = settings.min_sparsity, settings.max_sparsity
        self.groups = group(matrices, settings.genes)
        self.genes = Genes.real([group.name for group in self.groups], self._low, self._up, _POINTS)
        self.weights = [float(group.size) for group in self.groups]
        """The number of weights that a gene removes for each 1 of its value."""
        self._spreads = [_SPREAD] * len(self.genes)

    def uniform(self, sparsity: float) -> list[float]:
        return [sparsity] * len(self.genes)

    def random_near(self, sparsity: float) -> list[float]:
        """Draw genes uniformly, from the global :mod:`random`, around the uniform ``sparsity``."""
        return [
            random.uniform(max(gene.low, value - spread), min(gene.up, value + spread))
            for gene, value, spread in zip(self.genes, self.uniform(sparsity), self._spreads, strict=True)
        ]

    def of(self, genome: Sequence[float]) -> Sequence[float]:
        """Return the sparsity of each group."""
        return genome


class BlockAndKind(Sparsities):
    """A gene for each block, and one for each kind of matrix that is added to its sparsity in every block.

    Sums are clipped to ``min_sparsity`` and ``max_sparsity``, and all other matrices compensate equally. If all kinds
    are 0, they are not, because the references dense and uniform may lie beyond the bounds.
    """

    def __init__(self, matrices: Sequence[Matrix], settings: WeightsSettings) -> None:
        super().__init__(matrices, settings)
        self._sizes = self.weights
        blocks = list(dict.fromkeys(matrix.block for matrix in matrices))
        kinds = list(dict.fromkeys(matrix.kind for matrix in matrices))
        self._blocks = len(blocks)
        self._places = [(blocks.index(m.block), len(blocks) + kinds.index(m.kind)) for m in matrices]
        of_blocks = [Gene(f"block {block}", self._low, self._up, scale=_POINTS) for block in blocks]
        self.genes = Genes([*of_blocks, *(Gene(kind, -_REACH, _REACH, scale=_POINTS) for kind in kinds)])
        self.weights = [0.0] * len(self.genes)
        for genes, size in zip(self._places, self._sizes, strict=True):
            for gene in genes:
                self.weights[gene] += size
        self._spreads = [_SPREAD] * len(blocks) + [_SPREAD / 2] * len(kinds)

    def uniform(self, sparsity: float) -> list[float]:
        return [sparsity] * self._blocks + [0.0] * (len(self.genes) - self._blocks)

    def of(self, genome: Sequence[float]) -> Sequence[float]:
        low, up = self._low, self._up
        sums = [genome[block] + genome[kind] for block, kind in self._places]
        if all(low <= value <= up for value in sums) or not any(genome[self._blocks :]):
            return sums
        budget = sum(gene * weight for gene, weight in zip(genome, self.weights, strict=True))

        def clipped(shift: float) -> list[float]:
            return [min(max(value + shift, low), up) for value in sums]

        def removed_at(shift: float) -> float:
            return sum(value * size for value, size in zip(clipped(shift), self._sizes, strict=True))

        return clipped(solve(removed_at, budget, -1.0 - _REACH, 1.0 + _REACH))
