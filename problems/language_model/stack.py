"""Several transforms of one model as one: their genes stand side by side under one budget."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

from evoprune import Additive, Genes, InputError
from evoprune.budget import Price
from problems.language_model.transform import Encoded, Transform


class Stack(Transform):
    """Applies each of ``transforms`` to the same resident model. They must change different parts of a block.

    What they spend adds up: a part that one of them changes costs nothing in another.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        """Raises :class:`evoprune.InputError` where two of them change the same part of a block."""
        first = transforms[0]
        super().__init__(first.resident, None, first.texts)
        self._transforms = list(transforms)
        for one, other in combinations(transforms, 2):
            if both := one.parts & other.parts:
                raise InputError(
                    f"{type(one).__name__} and {type(other).__name__} both change the {' and the '.join(sorted(both))} "
                    "of a block; choose one of them",
                    "problem.transforms",
                )
        self._genes = Genes([gene for transform in transforms for gene in transform.genes])
        ends = [0]
        for transform in transforms:
            ends.append(ends[-1] + len(transform.genes))
        self._slices = [slice(begin, end) for begin, end in pairwise(ends)]

    @property
    def genes(self) -> Genes:
        """Those of each transform, one after the other."""
        return self._genes

    @property
    def dense(self) -> list[float]:
        """Nothing changed by any."""
        return [value for transform in self._transforms for value in transform.dense]

    def uniform(self, share: float) -> list[float]:
        """The same share in each."""
        return [value for transform in self._transforms for value in transform.uniform(share)]

    def apply(self, genome: Sequence[float]) -> None:
        """Apply to each transform its own genes."""
        for transform, own in zip(self._transforms, self._slices, strict=True):
            transform.apply(genome[own])

    def marks(self) -> Sequence[Hashable]:
        """For each block, the marks of all transforms."""
        return list(zip(*(transform.marks() for transform in self._transforms), strict=True))

    def prices(self, unit: str) -> tuple[list[Price], float]:
        """Those of all; the dense model is counted once."""
        return self._added([transform.prices(unit) for transform in self._transforms])

    def byte_prices(self) -> tuple[list[Price], float]:
        """As :meth:`prices`."""
        return self._added([transform.byte_prices() for transform in self._transforms])

    def _added(self, known: Sequence[tuple[list[Price], float]]) -> tuple[list[Price], float]:
        changes, dense = [], 0.0
        for transform, (own, fixed) in zip(self._transforms, known, strict=True):
            dense = Additive(transform.genes, own, None, fixed=fixed).spent(transform.dense)
            changes.append(fixed - dense)
        return [price for own, _ in known for price in own], dense + math.fsum(changes)

    def measures(self) -> dict[str, Any]:
        """The facts of all."""
        return {name: value for transform in self._transforms for name, value in transform.measures().items()}

    @property
    def updates(self) -> bool:
        """Whether any of them does."""
        return any(transform.updates for transform in self._transforms)

    def finalise(self, genome: Sequence[float]) -> None:
        """Finalise each, in their order, after all are applied: updates depend on the rest of the model."""
        self.apply(genome)
        for transform, own in zip(self._transforms, self._slices, strict=True):
            transform.finalise(genome[own])

    @property
    def plain(self) -> bool:
        """Whether all of them are."""
        return all(transform.plain for transform in self._transforms)

    def write(self, model: Any) -> None:
        """Let each change what is saved, in their order."""
        for transform in self._transforms:
            transform.write(model)

    @property
    def base(self) -> str | None:
        """The first that one of them names."""
        return next((transform.base for transform in self._transforms if transform.base), None)

    def encoded(self) -> Mapping[str, Encoded]:
        """The parameters of all."""
        return {name: held for transform in self._transforms for name, held in transform.encoded().items()}

    def bare(self) -> Stack:
        """A stack of the same transforms, to give shapes alone."""
        return Stack([transform.bare() for transform in self._transforms])

    def describe(self) -> dict[str, Any]:
        """The facts of each, by the name of its class."""
        return {type(transform).__name__: transform.describe() for transform in self._transforms}

    def remarks(self) -> list[str]:
        """Those of all."""
        return [remark for transform in self._transforms for remark in transform.remarks()]


def combined(transforms: Sequence[Transform]) -> Transform:
    """The one transform, or a :class:`Stack` of several. Raises as that does."""
    return transforms[0] if len(transforms) == 1 else Stack(transforms)
