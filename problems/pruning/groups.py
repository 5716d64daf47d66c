"""Which matrices a gene governs, and where a sparsity cuts each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from problems.pruning.model.blocks import Matrix
from problems.pruning.ranks import cut


@dataclass(frozen=True)
class Group:
    """The matrices that one gene governs."""

    name: str
    matrices: tuple[Matrix, ...]

    @property
    def size(self) -> int:
        """How many weights the gene governs."""
        return sum(matrix.size for matrix in self.matrices)

    def cuts(self, sparsity: float) -> list[tuple[int, int]]:
        """For each matrix its cut, and how many weights that removes, at ``sparsity``.

        What a matrix loses too much or too little, for its cuts lie between levels, the
        next one makes up: the group's total is exact to half a level of its last matrix.
        """
        cuts, sizes, removed = [], 0, 0
        for matrix in self.matrices:
            sizes += matrix.size
            wanted = min(matrix.size, max(0, round(sparsity * sizes) - removed))
            cuts.append(cut(wanted, matrix.size))
            removed += cuts[-1][1]
        return cuts


def group(matrices: Sequence[Matrix], genes: str) -> list[Group]:
    """A group for each ``block`` or for each ``matrix``, whichever ``genes`` says."""
    if genes == "matrix":
        return [Group(matrix.name, (matrix,)) for matrix in matrices]
    return [Group(f"block {block}", tuple(members)) for block, members in groupby(matrices, key=lambda m: m.block)]
