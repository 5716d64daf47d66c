"""The genes of sparsities: groups of matrices, the sparsity of each in a genome, and the cut of each matrix."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from evoprune import Gene, Genes
from evoprune.interfaces.budget import solve
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms.weights.ranks import cut, ranks_in_matrix
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings

_SPREAD = 0.15  # of sparsities in random genomes, to each side of the uniform one
_REACH = 0.3  # the largest difference in sparsity between a kind of matrix and its block

_PLACES = 2**12
"""A split is stored at this many evenly spaced sparsities above 0, and interpolated linearly between them."""


@dataclass(frozen=True)
class Group:
    """The matrices that one gene governs, or in ``block_and_kind`` one matrix."""

    name: str
    matrices: tuple[Matrix, ...]

    @property
    def size(self) -> int:
        return sum(matrix.size for matrix in self.matrices)

    def cuts(self, sparsity: float, tables: Sequence[torch.Tensor] = ()) -> list[tuple[int, int]]:
        """For each matrix its cut, and how many weights that removes, at ``sparsity``.

        All matrices lose the same share, or that of ``tables`` from :func:`split`. As cuts lie between levels, the next
        matrix makes up for each: the total is exact to half a level of the last one.
        """
        cuts, sizes, removed = [], 0, 0
        for index, matrix in enumerate(self.matrices):
            sizes += matrix.size
            so_far = sparsity * sizes
            if tables and matrix is not self.matrices[-1]:
                so_far = _between(tables[index], sparsity)
            target = min(matrix.size, max(0, round(so_far) - removed))
            cuts.append(cut(target, matrix.size))
            removed += cuts[-1][1]
        return cuts


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
        self.genes = Genes.real([group.name for group in self.groups], self._low, self._up)
        self.weights = [float(group.size) for group in self.groups]
        """The number of weights that a gene removes for each 1 of its value."""

    @property
    def _spreads(self) -> list[float]:
        """The largest distance from uniform of each gene in a random genome."""
        return [_SPREAD] * len(self.genes)

    def uniform(self, sparsity: float) -> list[float]:
        return [sparsity] * len(self.genes)

    def random_near(self, sparsity: float) -> list[float]:
        """Draw genes uniformly, from the global :mod:`random`, around those of the uniform ``sparsity``."""
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
        of_blocks = [Gene(f"block {block}", self._low, self._up) for block in blocks]
        self.genes = Genes([*of_blocks, *(Gene(kind, -_REACH, _REACH) for kind in kinds)])
        self.weights = [0.0] * len(self.genes)
        for genes, size in zip(self._places, self._sizes, strict=True):
            for gene in genes:
                self.weights[gene] += size

    @property
    def _spreads(self) -> list[float]:
        return [_SPREAD] * self._blocks + [_SPREAD / 2] * (len(self.genes) - self._blocks)

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


def sparsities_of(matrices: Sequence[Matrix], settings: WeightsSettings) -> Sparsities:
    """Return the genes that ``settings.genes`` names."""
    return (BlockAndKind if settings.genes == "block_and_kind" else Sparsities)(matrices, settings)


def split(scores: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The weights that each matrix of a group loses if the lowest ``scores`` of the whole group are removed.

    For each matrix a table, int64 ``(places,)``: the number of its weights, and of the matrices before it, among the
    lowest, at evenly spaced sparsities from 0 to 1.
    """
    ranks = ranks_in_matrix(torch.cat([score.flatten() for score in scores]))
    lowest = torch.linspace(0, ranks.numel(), _PLACES + 1, dtype=torch.float64).round().long().to(ranks.device)
    parts = ranks.split([score.numel() for score in scores])
    counts = torch.stack([torch.searchsorted(part.sort().values, lowest) for part in parts])
    return [table.cpu().clone() for table in counts.cumsum(0)]


def _between(table: torch.Tensor, sparsity: float) -> float:
    place = sparsity * _PLACES
    below = min(int(place), _PLACES - 1)
    first, second = table[below : below + 2].tolist()
    return float(first + (place - below) * (second - first))
