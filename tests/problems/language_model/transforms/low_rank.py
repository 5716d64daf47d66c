"""A transform of someone else, in one file: replaces the matrices of blocks by pairs of low-rank factors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from pydantic import Field
from torch import nn

from evoprune import Gene, Genes, Settings
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS, Prices, dense_amount
from evoprune.problems.language_model.transforms.transform import Transform


class LowRankSettings(Settings):
    """The ranks to choose from."""

    shares: tuple[float, ...] = Field((0.75, 0.5, 0.25), description="weights that the factors have, as a share")


class LowRank(Transform):
    """A gene for each block: the rank of the block's matrices, by truncated singular value decomposition."""

    Settings = LowRankSettings
    units = (WEIGHTS, PARAMETERS)
    parts = frozenset({"attention heads", "mlp channels"})

    def __init__(self, resident: Any, settings: LowRankSettings, texts: Any) -> None:
        super().__init__(resident, settings, texts)
        self._shares = (1.0, *sorted(settings.shares, reverse=True))
        self._blocks = [list(matrices) for _, matrices in groupby(resident.matrices, key=lambda matrix: matrix.block)]
        # a dropped home is no longer in the model
        self._homes = {m.name: resident.model.get_submodule(m.name.rpartition(".")[0]) for m in resident.matrices}
        self._levels = [0.0] * len(self._blocks)

    @property
    def genes(self) -> Genes:
        return Genes([Gene.of_levels(f"rank {at}", self._shares, f"block {at}") for at in range(len(self._blocks))])

    def apply(self, genome: Sequence[float]) -> None:
        for matrices, level, before in zip(self._blocks, genome, self._levels, strict=True):
            for matrix in matrices if level != before else ():
                layer = self._factors(matrix, self._shares[int(level)]) if level else matrix.module
                setattr(self._homes[matrix.name], matrix.name.rpartition(".")[2], layer)
        self._levels = list(genome)

    def block_fingerprints(self) -> list[float]:
        return list(self._levels)

    def prices(self, unit: str) -> Prices:
        def saved(matrices: list[Any], share: float) -> float:
            return float(sum(_rank(m, share) * sum(m.weight.shape) - m.size for m in matrices)) if share < 1 else 0.0

        prices = [[saved(matrices, share) for share in self._shares] for matrices in self._blocks]
        return [*prices], dense_amount(self.resident, unit)

    @property
    def plain(self) -> bool:
        return not any(self._levels)

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
    """Return the rank of factors with this share of the weights of ``matrix``."""
    return max(1, int(share * matrix.size / sum(matrix.weight.shape)))
