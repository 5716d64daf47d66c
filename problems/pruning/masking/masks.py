"""Masks a resident model in place, from stored levels, and from weights that were updated beforehand."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from problems.pruning.masking.groups import Group
from problems.pruning.masking.ranks import cut_at
from problems.pruning.model.blocks import Matrix

BASE, LEVEL, SPLIT = "base.", "level.", "split."
"""Before a matrix's name: its original weights, its weights' levels, and its part of what its group loses."""

_UNKNOWN = (0, 0)
"""No cut between levels, which start far below 0, removes nothing there."""


Meaning = Callable[[Sequence[float]], Sequence[float]]


def _as_it_is(genome: Sequence[float]) -> Sequence[float]:
    return genome


def at_stage(stage: float, name: str) -> str:
    """The name of what, in the original, is called ``name``, as updated for a share ``stage`` of the layer."""
    return f"at {stage}: {name}"


@dataclass(frozen=True)
class _Version:
    """A matrix's weights and their levels, original or updated for a stage; taken from the cut ``since`` on."""

    since: int
    base: torch.Tensor
    level: torch.Tensor


class Masks:
    """Sets the model's weights to those of any genome, without loading or allocating anything.

    ``stored`` holds each matrix's original weights and the levels of them (see
    :mod:`problems.pruning.masking.ranks`), and for weights that are compared in a whole group how it
    splits what it loses (see :func:`problems.pruning.masking.groups.split`). It is only read; the
    model's own parameters are overwritten. ``meaning`` turns a genome into a sparsity a group.

    ``stages``: sparsities, rising, at which ``stored`` has updated weights too (see
    :mod:`problems.pruning.reconstruct.stages`). A matrix is cut from those of the stage that is
    nearest to its cut, or from the original ones, whose stage is 0: as far above a stage as below
    it, as many weights go, or come back, that nothing makes up for.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        stored: Mapping[str, torch.Tensor],
        meaning: Meaning = _as_it_is,
        stages: Sequence[float] = (),
    ) -> None:
        self.groups = list(groups)
        self._meaning = meaning
        self._stored = stored
        matrices = [matrix for group in groups for matrix in group.matrices]
        self._splits = {
            group.name: [stored[SPLIT + m.name] for m in group.matrices if SPLIT + m.name in stored] for group in groups
        }
        self._versions = {matrix.name: _versions(matrix, stored, stages) for matrix in matrices}
        self._cuts = {matrix.name: _UNKNOWN for matrix in matrices}
        """Where each matrix is cut now, and how many weights that removes; nothing is known at first."""
        self._blocks = 1 + max(matrix.block for matrix in matrices)
        self.total = sum(matrix.size for matrix in matrices)

    @torch.no_grad()
    def apply(self, genome: Sequence[float]) -> float:
        """Mask the model as ``genome`` says; return the prunable weights' sparsity.

        Only matrices whose cut changed are written, each in two passes over its memory.
        """
        for group, sparsity in zip(self.groups, self._meaning(genome), strict=True):
            for matrix, cut in zip(group.matrices, group.cuts(sparsity, self._splits[group.name]), strict=True):
                if self._cuts[matrix.name] != cut:
                    weight, version = matrix.weight.data, self._version(matrix, cut[0])
                    torch.ge(version.level, cut[0], out=weight)  # ones and zeros
                    weight.mul_(version.base)
                    self._cuts[matrix.name] = cut
        return sum(removed for _, removed in self._cuts.values()) / self.total

    def base(self, matrix: Matrix) -> torch.Tensor:
        """The original weights of ``matrix``, as its layer stores them."""
        return self._stored[BASE + matrix.name]

    def kept(self, matrix: Matrix) -> torch.Tensor:
        """Which weights of ``matrix`` the score keeps where it is cut now: bool, as its layer stores them."""
        return self._stored[LEVEL + matrix.name] >= self._cuts[matrix.name][0]

    def _version(self, matrix: Matrix, cut: int) -> _Version:
        """What ``matrix`` is cut from: a matter of the cut alone, so that equal cuts are equal weights."""
        versions = self._versions[matrix.name]
        return versions[bisect(versions, cut, key=lambda version: version.since) - 1]

    def forget(self) -> None:
        """The model's weights were changed otherwise: nothing is known of them, and the next mask writes all."""
        self._cuts = dict.fromkeys(self._cuts, _UNKNOWN)

    def block_cuts(self) -> list[list[int]]:
        """For each block, the cuts of its matrices as they are now."""
        cuts: list[list[int]] = [[] for _ in range(self._blocks)]
        for group in self.groups:
            for matrix in group.matrices:
                cuts[matrix.block].append(self._cuts[matrix.name][0])
        return cuts

    def sparsities(self) -> dict[str, float]:
        """The sparsity of each matrix by name, as it is masked now."""
        return {m.name: self._cuts[m.name][1] / m.size for group in self.groups for m in group.matrices}

    def zeros(self) -> int:
        """How many of the prunable weights are zero now, counted in the model."""
        return zeros(matrix for group in self.groups for matrix in group.matrices)


def zeros(matrices: Iterable[Matrix]) -> int:
    """How many weights of ``matrices`` are zero."""
    return sum(int(matrix.weight.numel() - torch.count_nonzero(matrix.weight)) for matrix in matrices)


def _versions(matrix: Matrix, stored: Mapping[str, torch.Tensor], stages: Sequence[float]) -> list[_Version]:
    """The original of ``matrix``, then its ``stages``, each from half way after the one before."""
    base, level = BASE + matrix.name, LEVEL + matrix.name
    before = cut_at(0.0, matrix.size)[0]
    versions = [_Version(before, stored[base], stored[level])]
    for stage in stages:
        cut = cut_at(stage, matrix.size)[0]
        own = stored.get(at_stage(stage, level), stored[level])
        versions.append(_Version((before + cut + 1) // 2, stored[at_stage(stage, base)], own))
        before = cut
    return versions
