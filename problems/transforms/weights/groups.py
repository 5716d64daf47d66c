"""Which matrices a gene governs, and where a sparsity cuts each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from problems.models.blocks import Matrix
from problems.transforms.weights.ranks import cut, ranks_in_matrix

_PLACES = 2**12
"""A split is stored at this many evenly spaced sparsities above 0, and interpolated linearly between them."""


@dataclass(frozen=True)
class Group:
    """The matrices that one gene governs."""

    name: str
    matrices: tuple[Matrix, ...]

    @property
    def size(self) -> int:
        """How many weights the gene governs."""
        return sum(matrix.size for matrix in self.matrices)

    def cuts(self, sparsity: float, tables: Sequence[torch.Tensor] = ()) -> list[tuple[int, int]]:
        """For each matrix its cut, and how many weights that removes, at ``sparsity``.

        All matrices lose the same share, or that of ``tables`` from :func:`split`. Cuts lie between
        levels, so a matrix may lose slightly too much or too little; the next one compensates, and
        the group's total is exact to half a level of its last matrix.
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


def split(scores: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """How many weights each matrix of a group loses if the lowest ``scores`` of the whole group are removed.

    For each matrix a table, int64 ``(places,)``: how many weights of it and of those before
    it are among the lowest, at evenly spaced sparsities from 0 to 1.
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
