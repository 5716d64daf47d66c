"""Masks a resident model in place, from stored ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from problems.pruning.groups import Group
from problems.pruning.model.blocks import Matrix

Rank = Callable[[Matrix], torch.Tensor]


class Masks:
    """Sets the model's weights to those of any genome, without loading or copying anything.

    Beside the model's own parameters, which are overwritten, it holds each matrix's
    original weights and its ranks (int32, lowest removed first).
    """

    def __init__(self, groups: Sequence[Group], rank: Rank) -> None:
        self.groups = list(groups)
        matrices = [matrix for group in groups for matrix in group.matrices]
        self._original = {m.name: m.weight.detach().clone() for m in matrices}
        self._ranks = {m.name: rank(m) for m in matrices}
        self._removed = {m.name: 0 for m in matrices}
        self.total = sum(matrix.size for matrix in matrices)

    @torch.no_grad()
    def apply(self, genome: Sequence[float]) -> float:
        """Mask the model as ``genome`` says, a sparsity a group; return the prunable weights' sparsity.

        Only matrices whose count changed are written.
        """
        for group, sparsity in zip(self.groups, genome, strict=True):
            for matrix, count in zip(group.matrices, group.counts(sparsity), strict=True):
                if self._removed[matrix.name] != count:
                    keep = self._ranks[matrix.name] >= count
                    torch.mul(self._original[matrix.name], keep, out=matrix.weight.data)
                    self._removed[matrix.name] = count
        return sum(self._removed.values()) / self.total

    def zeros(self) -> int:
        """How many of the prunable weights are zero now, counted in the model."""
        return sum(
            int(matrix.weight.numel() - torch.count_nonzero(matrix.weight))
            for group in self.groups
            for matrix in group.matrices
        )
