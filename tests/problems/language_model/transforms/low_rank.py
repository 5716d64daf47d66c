"""A transform of someone else, in one file: replaces the matrices of blocks by pairs of low-rank factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import nn

from evoprune import Gene, Genes, Settings
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS, Prices
from evoprune.problems.language_model.transforms.transform import Transform


class LowRankSettings(Settings):
    """The ranks to choose from."""

    shares: tuple[float, ...] = Field((0.75, 0.5, 0.25), description="weights that the factors have, as a share")


class LowRank(Transform):
    """A gene for each block: the rank of its matrices, by truncated singular value decomposition."""

    Settings = LowRankSettings
    units = (WEIGHTS, PARAMETERS)
    parts = frozenset({"attention heads", "mlp channels"})

    def __init__(self, resident: Any, settings: LowRankSettings, texts: Any) -> None:
        super().__init__(resident, settings, texts)
        self._shares = (1.0, *sorted(settings.shares, reverse=True))
        self._blocks: dict[int, list[Any]] = {}
        for matrix in resident.matrices:
            self._blocks.setdefault(matrix.block, []).append(matrix)
        self._homes = {m.name: resident.model.get_submodule(m.name.rpartition(".")[0]) for m in resident.matrices}
        self._levels = [0.0] * len(self._blocks)

    @property
    def genes(self) -> Genes:
        return Genes([Gene.of_levels(f"rank {block}", self._shares, f"block {block}") for block in self._blocks])

    def apply(self, genome: Sequence[float]) -> None:
        for place, (matrices, level) in enumerate(zip(self._blocks.values(), genome, strict=True)):
            if level != self._levels[place]:
                for matrix in matrices:
                    made = self._factors(matrix, self._shares[int(level)]) if level else matrix.module
                    setattr(self._homes[matrix.name], matrix.name.rpartition(".")[2], made)
        self._levels = list(genome)

    def block_fingerprints(self) -> list[float]:
        return list(self._levels)

    def prices(self, unit: str) -> Prices:
        changes = [
            [float(sum(_rank(m, s) * sum(m.weight.shape) - m.size for m in own) if s < 1 else 0) for s in self._shares]
            for own in self._blocks.values()
        ]
        dense = self.resident.prunable_weights if unit == WEIGHTS else self.resident.parameters
        return changes, float(dense)

    @property
    def plain(self) -> bool:
        return not any(self._levels)

    def describe(self) -> dict[str, Any]:
        return {"shares": list(self._shares)}

    def _factors(self, matrix: Any, share: float) -> nn.Module:
        """Return two layers; the second has the bias."""
        rows, rank = matrix.rows(matrix.weight), _rank(matrix, share)
        first, second = nn.Linear(rows.shape[1], rank, bias=False), nn.Linear(rank, rows.shape[0])
        second.bias = matrix.module.bias
        if self._texts:  # else shapes alone matter
            left, values, right = torch.linalg.svd(rows.double(), full_matrices=False)
            first.weight.data = (values[:rank, None].sqrt() * right[:rank]).contiguous()
            second.weight.data = (left[:, :rank] * values[:rank].sqrt()).contiguous()
        return nn.Sequential(first, second).to(rows).eval().requires_grad_(False)


def _rank(matrix: Any, share: float) -> int:
    """The rank of factors with this share of the weights of ``matrix``."""
    return max(1, int(share * matrix.size / sum(matrix.weight.shape)))
