"""The genes of sparsities: groups of matrices, the sparsity of each in a genome, and the cut of each matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch

from evoprune import Gene, Genes
from evoprune.interfaces.budget import solve
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms.weights.ranks import cut, ranks_in_matrix
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings

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
    """The groups for the setting ``genes``: a block's matrices, those of a kind in all blocks, or each matrix alone."""
    if genes in {"matrix", "block_and_kind"}:
        return [Group(matrix.name, (matrix,)) for matrix in matrices]
    if genes == "kind":
        kinds = dict.fromkeys(matrix.kind for matrix in matrices)
        return [Group(kind, tuple(m for m in matrices if m.kind == kind)) for kind in kinds]
    return [Group(f"block {block}", tuple(members)) for block, members in groupby(matrices, key=lambda m: m.block)]


class Meaning:
    """One gene for each group: its sparsity.

    ``weights``: the number of weights that a gene removes for each 1 of its value.
    """

    def __init__(self, matrices: Sequence[Matrix], settings: WeightsSettings) -> None:
        self._settings = settings
        self.groups = group(matrices, settings.genes)
        self.names = [group.name for group in self.groups]
        self.weights = [float(group.size) for group in self.groups]

    @cached_property
    def genes(self) -> Genes:
        return Genes.real(self.names, self._settings.min_sparsity, self._settings.max_sparsity)

    @property
    def spreads(self) -> list[float]:
        """The largest distance from uniform of a gene in a random genome, relative to the others."""
        return [1.0] * len(self.names)

    def uniform(self, sparsity: float) -> list[float]:
        return [sparsity] * len(self.names)

    def sparsities(self, genome: Sequence[float]) -> Sequence[float]:
        return genome


class BlockAndKind(Meaning):
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
        self.names = [f"block {block}" for block in blocks] + kinds
        self.weights = [0.0] * len(self.names)
        for genes, size in zip(self._places, self._sizes, strict=True):
            for gene in genes:
                self.weights[gene] += size

    @cached_property
    def genes(self) -> Genes:
        low, up = self._settings.min_sparsity, self._settings.max_sparsity
        blocks = [Gene(name, low, up) for name in self.names[: self._blocks]]
        return Genes([*blocks, *(Gene(name, -_REACH, _REACH) for name in self.names[self._blocks :])])

    @property
    def spreads(self) -> list[float]:
        return [1.0] * self._blocks + [0.5] * (len(self.names) - self._blocks)

    def uniform(self, sparsity: float) -> list[float]:
        return [sparsity] * self._blocks + [0.0] * (len(self.names) - self._blocks)

    def sparsities(self, genome: Sequence[float]) -> Sequence[float]:
        low, up = self._settings.min_sparsity, self._settings.max_sparsity
        sums = [genome[block] + genome[kind] for block, kind in self._places]
        if all(low <= value <= up for value in sums) or not any(genome[self._blocks :]):
            return sums
        budget = sum(gene * weight for gene, weight in zip(genome, self.weights, strict=True))

        def held_at(shift: float) -> list[float]:
            return [min(max(value + shift, low), up) for value in sums]

        def removed_at(shift: float) -> float:
            return sum(value * size for value, size in zip(held_at(shift), self._sizes, strict=True))

        return held_at(solve(removed_at, budget, -1.0 - _REACH, 1.0 + _REACH))


def make_genes(matrices: Sequence[Matrix], settings: WeightsSettings) -> Meaning:
    """The genes that ``settings.genes`` names."""
    return (BlockAndKind if settings.genes == "block_and_kind" else Meaning)(matrices, settings)


def split(scores: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The weights that each matrix of a group loses if the lowest ``scores`` of the whole group are removed.

    For each matrix a table, int64 ``(places,)``: how many weights of it and of those before it are among the lowest, at
    evenly spaced sparsities from 0 to 1.
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
