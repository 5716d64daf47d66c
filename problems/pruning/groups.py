"""Which matrices a gene governs, and how many weights of each a sparsity removes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from problems.pruning.model.blocks import Matrix


@dataclass(frozen=True)
class Group:
    """The matrices that one gene governs."""

    name: str
    matrices: tuple[Matrix, ...]

    @property
    def size(self) -> int:
        """How many weights the gene governs."""
        return sum(matrix.size for matrix in self.matrices)

    def counts(self, sparsity: float) -> list[int]:
        """How many weights each matrix loses at ``sparsity``.

        Each is within one weight of ``sparsity`` times its size, and the fractions are
        carried on so that the group's total is exact to half a weight.
        """
        counts, sizes, removed = [], 0, 0
        for matrix in self.matrices:
            sizes += matrix.size
            counts.append(round(sparsity * sizes) - removed)
            removed += counts[-1]
        return counts


def group(matrices: Sequence[Matrix], genes: str) -> list[Group]:
    """A group for each ``block`` or for each ``matrix``, whichever ``genes`` says."""
    if genes == "matrix":
        return [Group(matrix.name, (matrix,)) for matrix in matrices]
    return [Group(f"block {block}", tuple(members)) for block, members in groupby(matrices, key=lambda m: m.block)]
