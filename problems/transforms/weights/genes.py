"""Converts a genome to the sparsity of each group of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from evoprune import Gene, Genes, solve
from problems.models.blocks import Matrix
from problems.transforms.weights.groups import group
from problems.transforms.weights.settings import WeightsSettings

_REACH = 0.3
"""How far, in sparsity, a kind of matrix may lie above or below its block."""


class Meaning:
    """One gene for each group: its sparsity.

    ``groups`` are disjoint; each has one sparsity. ``names`` and ``weights`` (the number of
    weights that a gene removes for each 1 of its value) belong to the genes.
    """

    def __init__(self, matrices: Sequence[Matrix], settings: WeightsSettings) -> None:
        self._settings = settings
        self.groups = group(matrices, settings.genes)
        self.names = [group.name for group in self.groups]
        self.weights = [float(group.size) for group in self.groups]

    @cached_property
    def genes(self) -> Genes:
        """``min_sparsity`` to ``max_sparsity`` for every gene."""
        return Genes.real(self.names, self._settings.min_sparsity, self._settings.max_sparsity)

    @property
    def spreads(self) -> list[float]:
        """How far from uniform a gene of a random genome may lie, relative to the others."""
        return [1.0] * len(self.names)

    def uniform(self, sparsity: float) -> list[float]:
        """The genome that gives every matrix the same ``sparsity``."""
        return [sparsity] * len(self.names)

    def sparsities(self, genome: Sequence[float]) -> Sequence[float]:
        """The sparsity of each group."""
        return genome


class BlockAndKind(Meaning):
    """A gene for each block, and one for each kind of matrix that is added to its sparsity in every block.

    There are few more genes than with blocks alone, and most of the freedom of a gene for each matrix.
    Sums are clipped to ``min_sparsity`` and ``max_sparsity``; all other matrices compensate equally, so
    the number of removed weights is that of the genes. If all kinds are 0, sums are not clipped, because
    the references dense and uniform may lie beyond the bounds.
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
        """``min_sparsity`` to ``max_sparsity`` for blocks, ``-_REACH`` to ``_REACH`` for kinds."""
        low, up = self._settings.min_sparsity, self._settings.max_sparsity
        blocks = [Gene(name, low, up) for name in self.names[: self._blocks]]
        return Genes([*blocks, *(Gene(name, -_REACH, _REACH) for name in self.names[self._blocks :])])

    @property
    def spreads(self) -> list[float]:
        """1 for blocks, half of that for kinds."""
        return [1.0] * self._blocks + [0.5] * (len(self.names) - self._blocks)

    def uniform(self, sparsity: float) -> list[float]:
        """``sparsity`` for blocks, 0 for kinds."""
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


def make_genes(matrices: Sequence[Matrix], settings: WeightsSettings) -> Meaning:
    """The genes that ``settings.genes`` names."""
    return (BlockAndKind if settings.genes == "block_and_kind" else Meaning)(matrices, settings)
