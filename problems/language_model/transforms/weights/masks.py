"""Masks a resident model in place, from stored levels, and from weights that were updated beforehand."""

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.late import make_late
from evoprune.problems.language_model.transforms.weights.genes import Group
from evoprune.problems.language_model.transforms.weights.ranks import cut_at

BASE, LEVEL, SPLIT = "base.", "level.", "split."
"""Prefixes of a matrix's name, for its original weights, their levels, and its part of its group's loss."""

_UNKNOWN = (0, 0)  # differs from every cut of a matrix, so the first mask writes every matrix


def at_stage(stage: float, name: str) -> str:
    """The name of the tensor ``name`` after the update for the sparsity ``stage``."""
    return f"at {stage}: {name}"


@dataclass(frozen=True)
class _Version:
    """A matrix's weights and their levels, original or updated for a stage; used for cuts from ``since`` on."""

    since: int
    base: torch.Tensor
    level: torch.Tensor

    def mask(self, cut: int, weight: torch.Tensor) -> torch.Tensor:
        """Set ``weight`` to the weights that remain at ``cut``, and return it."""
        torch.ge(self.level, cut, out=weight)  # ones and zeros
        return weight.mul_(self.base)

    def masked(self, cut: int, _: torch.Tensor | None = None) -> torch.Tensor:
        return self.mask(cut, torch.empty_like(self.base))


class Masks:
    """Masks the model's weights at any sparsities, without loading or allocating anything.

    ``stored``, only read: each matrix's original weights, their levels
    (:mod:`evoprune.problems.language_model.transforms.weights.ranks`), and the split of a group's loss
    (:func:`evoprune.problems.language_model.transforms.weights.genes.split`). ``stages``: rising sparsities with
    updated weights in ``stored``; a matrix is cut from the stage nearest to its cut, or from the original weights,
    whose stage is 0. ``late``: the weights are made whenever their layer runs; the model's stay as they were loaded.
    """

    def __init__(
        self, groups: Sequence[Group], stored: Mapping[str, torch.Tensor], stages: Sequence[float] = (),
        late: bool = False,
    ) -> None:  # fmt: skip
        self.groups, self._late = list(groups), late
        self._stored = stored
        matrices = [matrix for group in groups for matrix in group.matrices]
        self._splits = {
            group.name: [stored[SPLIT + m.name].cpu() for m in group.matrices if SPLIT + m.name in stored]
            for group in groups
        }
        self._versions = {matrix.name: _versions(matrix, stored, stages) for matrix in matrices}
        self._cuts = {matrix.name: _UNKNOWN for matrix in matrices}
        """The present cut of each matrix, and the number of weights that it removes; unknown at first."""
        self._blocks = 1 + max(matrix.block for matrix in matrices)
        self.total = sum(matrix.size for matrix in matrices)

    @torch.no_grad()
    def apply(self, sparsities: Sequence[float]) -> float:
        """Mask the model at the ``sparsities`` of the groups, where cuts changed; return the prunable weights' one."""
        for group, sparsity in zip(self.groups, sparsities, strict=True):
            for matrix, cut in zip(group.matrices, group.cuts(sparsity, self._splits[group.name]), strict=True):
                if self._cuts[matrix.name] != cut:
                    version = self._version(matrix, cut[0])
                    if self._late:
                        make = partial(version.masked, cut[0]) if cut[1] else None
                        make_late(matrix.module, make, matrix.attribute)
                    else:
                        version.mask(cut[0], matrix.weight.data)
                    self._cuts[matrix.name] = cut
        return self.sparsity

    @property
    def sparsity(self) -> float:
        return sum(removed for _, removed in self._cuts.values()) / self.total

    def base(self, matrix: Matrix) -> torch.Tensor:
        return self._stored[BASE + matrix.name]

    def kept(self, matrix: Matrix) -> torch.Tensor:
        """The weights of ``matrix`` that the score keeps at its present cut: bool, as its layer stores them."""
        return self._stored[LEVEL + matrix.name] >= self._cuts[matrix.name][0]

    def _version(self, matrix: Matrix, cut: int) -> _Version:
        versions = self._versions[matrix.name]
        return versions[bisect(versions, cut, key=lambda version: version.since) - 1]

    def forget(self) -> None:
        """Write all weights at the next mask, as other code has changed them."""
        self._cuts = dict.fromkeys(self._cuts, _UNKNOWN)

    def block_cuts(self) -> list[tuple[int, ...]]:
        cuts: list[list[int]] = [[] for _ in range(self._blocks)]
        for group in self.groups:
            for matrix in group.matrices:
                cuts[matrix.block].append(self._cuts[matrix.name][0])
        return [tuple(block) for block in cuts]

    def sparsities(self) -> dict[str, float]:
        return {m.name: self._cuts[m.name][1] / m.size for group in self.groups for m in group.matrices}


def _versions(matrix: Matrix, stored: Mapping[str, torch.Tensor], stages: Sequence[float]) -> list[_Version]:
    """The original weights of ``matrix``, then its ``stages``, each from half way after the one before."""
    base, level = BASE + matrix.name, LEVEL + matrix.name
    before = cut_at(0.0, matrix.size)[0]
    versions = [_Version(before, stored[base], stored[level])]
    for stage in stages:
        cut = cut_at(stage, matrix.size)[0]
        tensors = (stored[at_stage(stage, name)] for name in (base, level))
        versions.append(_Version((before + cut + 1) // 2, *tensors))
        before = cut
    return versions
