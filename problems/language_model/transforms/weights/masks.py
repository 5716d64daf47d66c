"""Masks a resident model in place by stored ranks of the weights, and with weights that were updated beforehand.

Scores become ranks, a permutation, ties broken by position. Ranks are stored in 16 bits, in bins of about as many
neighbouring ranks (one, in matrices of up to 65,535 weights). A mask for any sparsity is a threshold between two bins:
the number removed is known exactly, and differs from the target by at most half a bin, 8e-6 of the matrix.
"""

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch

from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.lazy_weights import make_lazy
from evoprune.problems.language_model.transforms.weights.genes import Group

BASE, BINS = "base.", "bins."
"""Prefixes of a matrix's name, for its original weights and the bins of their ranks."""

_MOST_BINS = 2**16 - 1
_LOWEST = -(2**15)  # the first bin, in int16

_UNKNOWN = (0, 0)  # differs from every threshold of a matrix, so that the first mask writes every matrix


def at_stage(stage: float, name: str) -> str:
    """Return the name of the tensor ``name`` after the update for the sparsity ``stage``."""
    return f"at {stage}: {name}"


def ranks_in_matrix(score: torch.Tensor) -> torch.Tensor:
    """Return the rank of each weight in its matrix: int64 in the shape of ``score``, 0 for the lowest."""
    order = torch.argsort(score.flatten(), stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(order.numel(), device=score.device)
    return ranks.view(score.shape)


def ranks_in_rows(rows: torch.Tensor) -> torch.Tensor:
    """As :func:`ranks_in_matrix`, for scores ``rows`` ``(out, in)`` that are compared within their row.

    The lowest weights of all rows come first, then the second-lowest, and so on (the comparison group of Wanda, Sun et
    al., ICLR 2024).
    """
    order = torch.argsort(rows, dim=1, stable=True)
    places = torch.arange(rows.shape[1], device=rows.device).expand_as(order)
    within = torch.empty_like(order).scatter_(1, order, places)
    return within * rows.shape[0] + torch.arange(rows.shape[0], device=rows.device)[:, None]


def bins(ranks: torch.Tensor) -> torch.Tensor:
    """Return the bin of each of a matrix's ``ranks``: int16 in their shape."""
    count = min(ranks.numel(), _MOST_BINS)
    return (ranks * count // ranks.numel() + _LOWEST).to(torch.int16)


def threshold(target: int, size: int) -> tuple[int, int]:
    """Return the threshold that removes about ``target`` of the ``size`` weights of a matrix, and the number removed.

    Weights in bins below the threshold are removed.
    """
    count = min(size, _MOST_BINS)
    place = round(target * count / size)
    return place + _LOWEST, -(-place * size // count)


def threshold_at(sparsity: float, size: int) -> tuple[int, int]:
    """As :func:`threshold`, for a share of the matrix."""
    return threshold(round(sparsity * size), size)


def thresholds_of(group: Group, sparsity: float) -> list[tuple[int, int]]:
    """Return the threshold of each matrix of ``group`` at ``sparsity``, and the number of weights that it removes.

    Each matrix compensates for the rounding of the ones before: the total is exact to half a bin of the last.
    """
    thresholds, sizes, removed = [], 0, 0
    for matrix in group.matrices:
        sizes += matrix.size
        target = min(matrix.size, max(0, round(sparsity * sizes) - removed))
        thresholds.append(threshold(target, matrix.size))
        removed += thresholds[-1][1]
    return thresholds


@dataclass(frozen=True)
class _Version:
    """Weights of a matrix and their bins, original or updated for a stage; used for thresholds from ``since`` on."""

    since: int
    base: torch.Tensor
    bins: torch.Tensor

    def masked(self, threshold: int, _: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weights that remain at ``threshold``, and zeros."""
        return torch.ge(self.bins, threshold, out=torch.empty_like(self.base)).mul_(self.base)


class Masks:
    """Masks the model's weights at any sparsities, without loading or allocating anything.

    ``stored``: the original weights of each matrix and their bins; not modified. ``stages``: rising sparsities with
    updated weights in ``stored``; the stage nearest to a matrix's threshold is masked, the original weights being stage
    0. ``lazy``: masked weights are made whenever their layer runs; the model's parameters stay as they were loaded.
    """

    def __init__(
        self, groups: Sequence[Group], stored: Mapping[str, torch.Tensor], stages: Sequence[float] = (),
        lazy: bool = False,
    ) -> None:  # fmt: skip
        self.groups, self._stored, self._lazy = list(groups), stored, lazy
        self._matrices = [matrix for group in groups for matrix in group.matrices]
        self._versions = {matrix.name: _versions(matrix, stored, stages) for matrix in self._matrices}
        self.invalidate()

    def invalidate(self) -> None:
        """Write all weights at the next mask, because other code has changed them."""
        self._thresholds = {matrix.name: _UNKNOWN for matrix in self._matrices}
        """The present threshold of each matrix, and the number of weights that it removes."""

    @torch.no_grad()
    def apply(self, sparsities: Sequence[float]) -> None:
        """Mask the model at the ``sparsities`` of the groups."""
        thresholds = chain.from_iterable(map(thresholds_of, self.groups, sparsities))
        weights, bases = [], []
        for matrix, (threshold, removed) in zip(self._matrices, thresholds, strict=True):
            if self._thresholds[matrix.name] != (threshold, removed):
                versions = self._versions[matrix.name]
                version = versions[bisect(versions, threshold, key=lambda version: version.since) - 1]
                if self._lazy:
                    make = partial(version.masked, threshold) if removed else None
                    make_lazy(matrix.module, make, matrix.attribute)
                else:
                    weights.append(torch.ge(version.bins, threshold, out=matrix.weight.data))  # ones and zeros
                    bases.append(version.base)
                self._thresholds[matrix.name] = threshold, removed
        if weights:
            torch._foreach_mul_(weights, bases)  # one launch for many matrices

    @property
    def removed(self) -> int:
        """Number of weights that are removed now."""
        return sum(removed for _, removed in self._thresholds.values())

    def original(self, matrix: Matrix) -> torch.Tensor:
        return self._stored[BASE + matrix.name]

    def mask(self, matrix: Matrix) -> torch.Tensor:
        """Return the mask at the present threshold, False for removed weights: bool, in the layer's layout."""
        return self._stored[BINS + matrix.name] >= self._thresholds[matrix.name][0]

    def block_thresholds(self) -> list[tuple[int, ...]]:
        thresholds: list[list[int]] = [[] for _ in range(1 + max(matrix.block for matrix in self._matrices))]
        for matrix in self._matrices:
            thresholds[matrix.block].append(self._thresholds[matrix.name][0])
        return [tuple(of_block) for of_block in thresholds]

    def sparsities(self) -> dict[str, float]:
        return {matrix.name: self._thresholds[matrix.name][1] / matrix.size for matrix in self._matrices}


def _versions(matrix: Matrix, stored: Mapping[str, torch.Tensor], stages: Sequence[float]) -> list[_Version]:
    """Return the original weights of ``matrix``, then its ``stages``, each used from half way after the one before."""
    names = BASE + matrix.name, BINS + matrix.name
    before = threshold_at(0.0, matrix.size)[0]
    versions = [_Version(before, *(stored[name] for name in names))]
    for stage in stages:
        own = threshold_at(stage, matrix.size)[0]
        versions.append(_Version((before + own + 1) // 2, *(stored[at_stage(stage, name)] for name in names)))
        before = own
    return versions
