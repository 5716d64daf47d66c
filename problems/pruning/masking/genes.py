"""What the genes of a genome mean: from a genome to the sparsity of each group of matrices."""

from __future__ import annotations

from collections.abc import Sequence

from evoprune import Bounds, solve
from problems.pruning.masking.groups import group
from problems.pruning.model.blocks import Matrix
from problems.pruning.settings import PruningSettings

_REACH = 0.3
"""How far, in sparsity, a kind of matrix may lie above or below its block."""


class Genes:
    """One gene a group: its sparsity.

    ``groups`` are disjoint, and masked each to one sparsity. ``names`` and ``weights`` (how many
    weights a gene moves by 1) belong to the genes.
    """

    def __init__(self, matrices: Sequence[Matrix], settings: PruningSettings) -> None:
        self._settings = settings
        self.groups = group(matrices, settings.genes)
        self.names = [group.name for group in self.groups]
        self.weights = [float(group.size) for group in self.groups]

    @property
    def bounds(self) -> Bounds:
        """``min_sparsity`` and ``max_sparsity`` for every gene."""
        count = len(self.names)
        return Bounds([self._settings.min_sparsity] * count, [self._settings.max_sparsity] * count)

    @property
    def spreads(self) -> list[float]:
        """How far from uniform each gene of a random genome may lie."""
        return [self._settings.initial_spread] * len(self.names)

    def target(self, sparsity: float) -> float:
        """The weighted mean of the genes of a genome that removes ``sparsity`` of all prunable weights."""
        return sparsity

    def uniform(self, sparsity: float) -> list[float]:
        """The genome that gives every matrix the same ``sparsity``."""
        return [sparsity] * len(self.names)

    def sparsities(self, genome: Sequence[float]) -> Sequence[float]:
        """The sparsity of each group."""
        return genome


class BlockAndKind(Genes):
    """A gene for each block, and one for each kind of matrix that is added to its sparsity in every block.

    A few genes more than blocks alone, and most of what a gene for each matrix could do. Sums
    are held within ``min_sparsity`` and ``max_sparsity``; what that takes off the budget is
    given to all other matrices alike, so that the budget in weights is that of the genes. Where
    kinds add nothing, blocks are taken at their word: dense and uniform are references beyond the bounds.
    """

    def __init__(self, matrices: Sequence[Matrix], settings: PruningSettings) -> None:
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

    @property
    def bounds(self) -> Bounds:
        """Those of sparsities for blocks, ``_REACH`` either way for kinds."""
        kinds = len(self.names) - self._blocks
        low = [self._settings.min_sparsity] * self._blocks + [-_REACH] * kinds
        return Bounds(low, [self._settings.max_sparsity] * self._blocks + [_REACH] * kinds)

    @property
    def spreads(self) -> list[float]:
        """As in :class:`Genes`, and half of that for kinds."""
        spread = self._settings.initial_spread
        return [spread] * self._blocks + [spread / 2] * (len(self.names) - self._blocks)

    def target(self, sparsity: float) -> float:
        """Half of ``sparsity``: each weight is counted by two genes, and kinds add nothing on average."""
        return sparsity / 2

    def uniform(self, sparsity: float) -> list[float]:
        """Kinds add nothing."""
        return [sparsity] * self._blocks + [0.0] * (len(self.names) - self._blocks)

    def sparsities(self, genome: Sequence[float]) -> Sequence[float]:
        """The sparsity of each matrix."""
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


def make_genes(matrices: Sequence[Matrix], settings: PruningSettings) -> Genes:
    """The genes that ``settings.genes`` names."""
    return (BlockAndKind if settings.genes == "block_and_kind" else Genes)(matrices, settings)
