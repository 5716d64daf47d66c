"""Several transforms of one model as one: their genes stand side by side under one budget."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations, pairwise
from math import prod
from typing import Any

import torch

from evoprune import Additive, Budget, Coupled, Genes, InputError, Price, Term
from problems.gguf.encoded import Encoded
from problems.models.throughput import Load
from problems.transforms.cut_latency import cut_times
from problems.transforms.latency import Clock, Passes
from problems.transforms.overlay import Beside, Overlay
from problems.transforms.shapes import Shape, Shapes
from problems.transforms.transform import BYTES, PARAMETERS, WEIGHTS, Transform, unknown_unit


class Stack(Transform):
    """Applies each of ``transforms`` to the same resident model. They must change different parts of a block.

    An overlay comes last. What transforms spend adds up, as long as a part that one of them changes
    costs nothing in another; else it is counted from shapes, and what a gene spends depends on others.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        """Raises :class:`evoprune.InputError` where two of them cannot be combined."""
        first = transforms[0]
        super().__init__(first.resident, None, first.texts)
        for one, other in combinations(transforms, 2):
            _refuse(one, other)
        cuts = [transform for transform in transforms if not isinstance(transform, Overlay)]
        # at most one: two would share a part
        self._overlay = next((each for each in transforms if isinstance(each, Overlay)), None)
        self._transforms = [*cuts, self._overlay] if self._overlay else cuts
        self._shapes = Shapes.of(self.resident.model, cuts) if self._overlay or _overlap(cuts) else None
        if self._overlay and self._shapes:
            self._overlay.lie_on(self._shapes)
        self.sparse = any(each.sparse for each in self._transforms)
        self._genes = self._of_all()
        ends = [0]
        for transform in self._transforms:
            ends.append(ends[-1] + len(transform.genes))
        self._slices = [slice(begin, end) for begin, end in pairwise(ends)]
        self._applied = self.dense
        self._terms: dict[str, tuple[list[Term], Beside]] = {}

    @property
    def genes(self) -> Genes:
        """Those of each transform, one after the other."""
        return self._genes

    def _of_all(self) -> Genes:
        return Genes([replace(gene, kind=type(each).__name__) for each in self._transforms for gene in each.genes])

    def worth(self, times: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
        """Those of each."""
        found: dict[str, list[str]] = {}
        for transform in self._transforms:
            found |= transform.worth({gene.name: times[gene.name] for gene in transform.genes})
        return found

    def use_levels(self, levels: Mapping[str, Sequence[str]], timed: Mapping[str, Sequence[str]]) -> None:
        """See :meth:`Transform.use_levels`."""
        for transform in self._transforms:
            transform.use_levels(levels, timed)
        self._genes = self._of_all()
        self._terms.clear()

    @property
    def dense(self) -> list[float]:
        """Nothing changed by any."""
        return [value for transform in self._transforms for value in transform.dense]

    def uniform(self, share: float) -> list[float]:
        """The same share in each."""
        return [value for transform in self._transforms for value in transform.uniform(share)]

    def known(self) -> Sequence[list[float]]:
        """Those of each, which are asked about the dense model, with nothing changed by the others."""
        dense = self.dense
        with self._made_dense():
            return [
                [*dense[: own.start], *known, *dense[own.stop :]]
                for transform, own in zip(self._transforms, self._slices, strict=True)
                for known in transform.known()
            ]

    def apply(self, genome: Sequence[float]) -> None:
        """Apply to each transform its own genes, and lay on what these leave."""
        self._cut(genome)
        self._lay(genome)

    def finalise(self, genome: Sequence[float]) -> None:
        """Finalise each, in their order, after all are applied: updates depend on the rest of the model."""
        self._cut(genome)
        for transform, own in self._parts(genome):
            if transform is not self._overlay:
                transform.finalise(own)
        self._lay(genome)

    def marks(self) -> Sequence[Hashable]:
        """For each block, the marks of all transforms."""
        return list(zip(*(transform.marks() for transform in self._transforms), strict=True))

    def prices(self, unit: str) -> tuple[list[Price], float]:
        """Those of all; the dense model is counted once.

        Raises :class:`evoprune.InputError` where what they spend does not add up.
        """
        if self._shapes:
            names = " and ".join(type(transform).__name__ for transform in self._transforms)
            raise InputError(
                f"what {names} spend together is known in bytes, bits_per_weight, parameters, weights and "
                "milliseconds; it cannot be counted in operations yet",
                "problem.budget",
            )
        return self._added([transform.prices(unit) for transform in self._transforms])

    def byte_prices(self) -> tuple[list[Price], float]:
        """As :meth:`prices`."""
        if self._shapes:
            return self.prices(BYTES)
        return self._added([transform.byte_prices() for transform in self._transforms])

    def budget(self, unit: str, limit: float | None, name: str | None = None, scale: float = 1.0) -> Budget:
        """See :meth:`Transform.budget`."""
        if not self._shapes:
            return super().budget(unit, limit, name, scale)
        if unit not in self._terms:
            self._terms[unit] = self._counted(unit, self._shapes)
        terms, beside = self._terms[unit]
        terms = [Term(term.genes, scale * term.table) for term in terms]
        count = len(self._shapes.counts)
        return Coupled(self._genes, terms, limit, name or unit, lambda levels: scale * beside(levels), count)

    def _counted(self, unit: str, shapes: Shapes) -> tuple[list[Term], Beside]:
        if unit != BYTES or not self._overlay:
            return shapes.terms(self._counting(unit)), lambda _: 0.0
        with self._made_dense():
            return self._overlay.byte_terms(shapes)

    @contextmanager
    def _made_dense(self) -> Iterator[None]:
        """Make the model dense for a while; afterwards it is what it was."""
        before = self._applied
        self.apply(self.dense)
        try:
            yield
        finally:
            self.apply(before)

    def _counting(self, unit: str) -> Any:
        """What a parameter spends in ``unit``, by its name and its shape."""
        if unit not in (BYTES, PARAMETERS, WEIGHTS):
            raise unknown_unit(self, unit, [WEIGHTS, PARAMETERS, BYTES])
        weights = {f"{matrix.name}.weight" for matrix in self.resident.matrices}
        size = self.resident.model.dtype.itemsize if unit == BYTES else 1

        def count(name: str, shape: Shape, _: str | None) -> float:
            return size * prod(shape) if unit != WEIGHTS or name in weights else 0.0

        return count

    def _added(self, known: Sequence[tuple[list[Price], float]]) -> tuple[list[Price], float]:
        changes, dense = [], 0.0
        for transform, (own, fixed) in zip(self._transforms, known, strict=True):
            dense = Additive(transform.genes, own, None, fixed=fixed).spent(transform.dense)
            changes.append(fixed - dense)
        return [price for own, _ in known for price in own], dense + math.fsum(changes)

    def inputs_left(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        """Those of all."""
        return {name: left for each, own in self._parts(genome) for name, left in each.inputs_left(own).items()}

    def measures(self) -> dict[str, Any]:
        """The facts of all."""
        return {name: value for transform in self._transforms for name, value in transform.measures().items()}

    @property
    def updates(self) -> bool:
        """Whether any of them does."""
        return any(transform.updates for transform in self._transforms)

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

    def unencoded(self, genome: Sequence[float]) -> list[float]:
        """That of each."""
        return [value for transform, own in self._parts(genome) for value in transform.unencoded(own)]

    def encode(self, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:
        """That of the overlay, if there is one."""
        if not self._overlay:
            return {}
        return self._overlay.encode_left(model, genome[self._slices[-1]], lambda: self.inputs_left(genome))

    def shaping(self, genome: Sequence[float]) -> Sequence[float]:
        """Those of each."""
        return [value for transform, own in self._parts(genome) for value in transform.shaping(own)]

    def bare(self) -> Transform:
        """The same of each, to give shapes alone."""
        return combined([each.bare() for each in self._transforms])

    def clock(self, load: Load) -> Clock:
        """That of the overlay, if there is one."""
        if not self._shapes:
            return super().clock(load)
        kinds = [self._shapes.changed(place) for place in range(len(self._shapes.counts))]
        return self._overlay.clock_on(self, load, kinds) if self._overlay else Passes(self, load, kinds)

    def time_terms(self, changes: Sequence[Sequence[float]]) -> list[Term]:
        """See :meth:`Transform.time_terms`; from shapes where parts that one of them changes are others' too."""
        if not self._shapes:
            return super().time_terms(changes)
        return cut_times(self._shapes, changes, self._overlay.kinds(self._shapes) if self._overlay else {})

    def describe(self) -> dict[str, Any]:
        """The facts of each, by the name of its class."""
        return {type(transform).__name__: transform.describe() for transform in self._transforms}

    def remarks(self) -> list[str]:
        """Those of all."""
        return [remark for transform in self._transforms for remark in transform.remarks()]

    def _parts(self, genome: Sequence[float]) -> list[tuple[Transform, Sequence[float]]]:
        """Each transform with its own genes."""
        return [(each, genome[own]) for each, own in zip(self._transforms, self._slices, strict=True)]

    def _cut(self, genome: Sequence[float]) -> None:
        """Apply the cuts, with nothing lying on them."""
        self._applied = list(genome)
        if self._overlay:
            self._overlay.lift()
        for transform, own in self._parts(genome):
            if transform is not self._overlay:
                transform.apply(own)

    def _lay(self, genome: Sequence[float]) -> None:
        if self._overlay:
            self._overlay.lay(genome[self._slices[-1]], lambda: self.inputs_left(genome))


def _refuse(one: Transform, other: Transform) -> None:
    """Raise :class:`evoprune.InputError` where the two change the same part, or one leaves zeros that save nothing."""
    names = f"{type(one).__name__} and {type(other).__name__}"
    if any(isinstance(each, Overlay) for each in (one, other)) and (one.sparse or other.sparse):
        raise InputError(
            f"{names}: zeros save no byte in a .gguf file, so that there is nothing to choose between them and types; "
            "leave one of the two out",
            "problem.transforms",
        )
    if both := one.parts & other.parts:
        raise InputError(
            f"{names} both change the {' and the '.join(sorted(both))} of a block; choose one of them, or give "
            "drop: false to what makes it narrower",
            "problem.transforms",
        )


def _overlap(cuts: Sequence[Transform]) -> bool:
    """Whether what one of ``cuts`` drops is what another one makes narrower."""
    of_each = [{part.split()[0] for part in cut.parts} for cut in cuts]
    return any(one & other for one, other in combinations(of_each, 2))


def combined(transforms: Sequence[Transform]) -> Transform:
    """The one transform, or a :class:`Stack` of several. Raises as that does."""
    return transforms[0] if len(transforms) == 1 else Stack(transforms)
