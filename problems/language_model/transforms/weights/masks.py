"""Masks a resident model in place, by stored levels of the weights, and with weights that were updated beforehand.

Scores become ranks, a permutation, ties broken by position. Ranks are stored in 16 bits, as levels of about as many
neighbouring ranks each (one, in matrices of up to 65,535 weights). A mask for any sparsity is a cut between two levels:
the number removed is known exactly, and differs from the number asked for by at most half a level, 8e-6 of the matrix.
"""

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch

from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.late import make_late
from evoprune.problems.language_model.transforms.weights.genes import Group

BASE, LEVEL = "base.", "level."
"""Prefixes of a matrix's name, for its original weights and their levels."""

_UNKNOWN = (0, 0)  # differs from every cut of a matrix, so the first mask writes every matrix


def at_stage(stage: float, name: str) -> str:
    """Return the name of the tensor ``name`` after the update for the sparsity ``stage``."""
    return f"at {stage}: {name}"


_MOST_LEVELS = 2**16 - 1
_LOWEST = -(2**15)  # levels are stored from here up, as int16


def ranks_in_matrix(score: torch.Tensor) -> torch.Tensor:
    """The rank of each weight in its whole matrix: int64 of ``score``'s shape, 0 the lowest."""
    order = torch.argsort(score.flatten(), stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(order.numel(), device=score.device)
    return ranks.view(score.shape)


def ranks_in_rows(rows: torch.Tensor) -> torch.Tensor:
    """As :func:`ranks_in_matrix` of ``rows`` ``(out, in)``, but weights are compared within their row.

    All rows' lowest weights come first, then all second-lowest, and so on (the comparison group of Wanda, Sun et al.,
    ICLR 2024).
    """
    order = torch.argsort(rows, dim=1, stable=True)
    places = torch.arange(rows.shape[1], device=rows.device).expand_as(order)
    within = torch.empty_like(order).scatter_(1, order, places)
    return within * rows.shape[0] + torch.arange(rows.shape[0], device=rows.device)[:, None]


def levels(ranks: torch.Tensor) -> torch.Tensor:
    """The level of each of a matrix's ``ranks``: int16 of their shape."""
    count = min(ranks.numel(), _MOST_LEVELS)
    return (ranks * count // ranks.numel() + _LOWEST).to(torch.int16)


def cut(target: int, size: int) -> tuple[int, int]:
    """The cut that removes about ``target`` of the ``size`` weights of a matrix, and the number that it removes.

    Weights whose level is below the cut are removed.
    """
    count = min(size, _MOST_LEVELS)
    place = round(target * count / size)
    return place + _LOWEST, -(-place * size // count)


def cut_at(sparsity: float, size: int) -> tuple[int, int]:
    """As :func:`cut`, for a share of the matrix."""
    return cut(round(sparsity * size), size)


def cuts_of(group: Group, sparsity: float) -> list[tuple[int, int]]:
    """Return the cut of each matrix of ``group`` at ``sparsity``, and the number of weights that it removes.

    As cuts lie between levels, the next matrix makes up for each: the total is exact to half a level of the last.
    """
    cuts, sizes, removed = [], 0, 0
    for matrix in group.matrices:
        sizes += matrix.size
        target = min(matrix.size, max(0, round(sparsity * sizes) - removed))
        cuts.append(cut(target, matrix.size))
        removed += cuts[-1][1]
    return cuts


@dataclass(frozen=True)
class _Version:
    """A matrix's weights and their levels, original or updated for a stage; used for cuts from ``since`` on."""

    since: int
    base: torch.Tensor
    level: torch.Tensor

    def masked(self, cut: int, _: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weights that remain at ``cut``, and zeros."""
        return torch.ge(self.level, cut, out=torch.empty_like(self.base)).mul_(self.base)


class Masks:
    """Masks the model's weights at any sparsities, without loading or allocating anything.

    ``stored``, only read: the original weights of each matrix, and their levels. ``stages``: rising sparsities with
    updated weights in ``stored``; a matrix is cut from the stage nearest to its cut, or from the original weights,
    whose stage is 0. ``late``: the weights are made whenever their layer runs; the model's stay as they were loaded.
    """

    def __init__(
        self, groups: Sequence[Group], stored: Mapping[str, torch.Tensor], stages: Sequence[float] = (),
        late: bool = False,
    ) -> None:  # fmt: skip
        self.groups, self._stored, self._late = list(groups), stored, late
        self._matrices = [matrix for group in groups for matrix in group.matrices]
        self._versions = {matrix.name: _versions(matrix, stored, stages) for matrix in self._matrices}
        self.total = sum(matrix.size for matrix in self._matrices)
        self.forget()

    def forget(self) -> None:
        """Write all weights at the next mask, as other code has changed them."""
        self._cuts = {matrix.name: _UNKNOWN for matrix in self._matrices}
        """The present cut of each matrix, and the number of weights that it removes."""

    @torch.no_grad()
    def apply(self, sparsities: Sequence[float]) -> float:
        """Mask the model at the ``sparsities`` of the groups, where cuts changed; return the prunable weights' one."""
        cuts = chain.from_iterable(map(cuts_of, self.groups, sparsities))
        weights, bases = [], []
        for matrix, cut in zip(self._matrices, cuts, strict=True):
            if self._cuts[matrix.name] != cut:
                versions = self._versions[matrix.name]
                version = versions[bisect(versions, cut[0], key=lambda version: version.since) - 1]
                if self._late:
                    make = partial(version.masked, cut[0]) if cut[1] else None
                    make_late(matrix.module, make, matrix.attribute)
                else:
                    weights.append(torch.ge(version.level, cut[0], out=matrix.weight.data))  # ones and zeros
                    bases.append(version.base)
                self._cuts[matrix.name] = cut
        if weights:
            torch._foreach_mul_(weights, bases)  # one launch for many matrices
        return self.sparsity

    @property
    def sparsity(self) -> float:
        return sum(removed for _, removed in self._cuts.values()) / self.total

    def base(self, matrix: Matrix) -> torch.Tensor:
        return self._stored[BASE + matrix.name]

    def kept(self, matrix: Matrix) -> torch.Tensor:
        """Return the mask of the weights that the score keeps at the present cut: bool, as the layer stores them."""
        return self._stored[LEVEL + matrix.name] >= self._cuts[matrix.name][0]

    def block_cuts(self) -> list[tuple[int, ...]]:
        cuts: list[list[int]] = [[] for _ in range(1 + max(matrix.block for matrix in self._matrices))]
        for matrix in self._matrices:
            cuts[matrix.block].append(self._cuts[matrix.name][0])
        return [tuple(block) for block in cuts]

    def sparsities(self) -> dict[str, float]:
        return {matrix.name: self._cuts[matrix.name][1] / matrix.size for matrix in self._matrices}


def _versions(matrix: Matrix, stored: Mapping[str, torch.Tensor], stages: Sequence[float]) -> list[_Version]:
    """Return the original weights of ``matrix``, then its ``stages``, each from half way after the one before."""
    base, level = BASE + matrix.name, LEVEL + matrix.name
    before = cut_at(0.0, matrix.size)[0]
    versions = [_Version(before, stored[base], stored[level])]
    for stage in stages:
        cut = cut_at(stage, matrix.size)[0]
        tensors = (stored[at_stage(stage, name)] for name in (base, level))
        versions.append(_Version((before + cut + 1) // 2, *tensors))
        before = cut
    return versions
