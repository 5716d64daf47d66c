"""Several transforms of one model as one: their genes stand side by side under one budget."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations, pairwise
from math import prod
from typing import Any

import torch

from evoprune import Additive, Budget, Coupled, Genes, InputError, Term
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.transforms.overlay import Beside, Overlay, Remaining
from evoprune.problems.language_model.transforms.shapes import Shape, Shapes
from evoprune.problems.language_model.transforms.transform import (
    ATTENTION,
    BYTES,
    PARAMETERS,
    WEIGHTS,
    Prices,
    Transform,
)

_UNITS = (WEIGHTS, PARAMETERS, ATTENTION, BYTES)


class Stack(Transform):
    """Applies ``transforms``, which change different parts of a block, to one resident model; an overlay comes last.

    Costs add up, as long as a part that one of them changes costs nothing in another; else they are counted from
    ``shapes``, and the cost of a gene depends on others.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        super().__init__(transforms[0].resident, None, None)
        for one, other in combinations(transforms, 2):
            _refuse(one, other)
        cuts = [transform for transform in transforms if not isinstance(transform, Overlay)]
        # at most one: two would share a part
        self._overlay = next((each for each in transforms if isinstance(each, Overlay)), None)
        self.transforms = [*cuts, self._overlay] if self._overlay else cuts
        self.shapes = Shapes.of(self.resident.model, cuts) if self._overlay or _overlap(cuts) else None
        if self._overlay and self.shapes:
            self._overlay.fit(self.shapes)
        self.sparse = any(each.sparse for each in self.transforms)
        self.units = [unit for unit in _UNITS if all(unit in (*each.units, BYTES) for each in self.transforms)]
        self._genes = self._of_all()
        ends = [0]
        for transform in self.transforms:
            ends.append(ends[-1] + len(transform.genes))
        self._slices = [slice(begin, end) for begin, end in pairwise(ends)]
        self._applied = self.dense
        self._terms: dict[str, tuple[list[Term], Beside]] = {}

    @property
    def genes(self) -> Genes:
        return self._genes

    @property
    def dense(self) -> list[float]:
        return [value for transform in self.transforms for value in transform.dense]

    def uniform(self, share: float) -> list[float]:
        return [value for transform in self.transforms for value in transform.uniform(share)]

    def initial_genomes(self) -> Sequence[list[float]]:
        dense = self.dense
        with self._made_dense():
            return [
                [*dense[: own.start], *known, *dense[own.stop :]]
                for transform, own in zip(self.transforms, self._slices, strict=True)
                for known in transform.initial_genomes()
            ]

    def apply(self, genome: Sequence[float]) -> None:
        self._cut(genome)
        self._lay(genome)

    def finalise(self, genome: Sequence[float]) -> None:
        self._cut(genome)
        for transform, own in self._parts(genome):
            if transform is not self._overlay:
                transform.finalise(own)
        self._lay(genome)

    def marks(self) -> Sequence[Hashable]:
        return list(zip(*(transform.marks() for transform in self.transforms), strict=True))

    def prices(self, unit: str) -> Prices:
        if self.shapes:
            names = " and ".join(type(transform).__name__ for transform in self.transforms)
            raise InputError(f"operations that {names} spend together cannot be counted yet", "problem.budget")
        costs = [transform.costs(unit) for transform in self.transforms]
        changes, dense = [], 0.0
        for transform, (own, fixed) in zip(self.transforms, costs, strict=True):
            dense = Additive(transform.genes, own, None, fixed=fixed).spent(transform.dense)
            changes.append(fixed - dense)
        return [price for own, _ in costs for price in own], dense + math.fsum(changes)

    def budget(self, unit: str, limit: float | None, name: str | None = None, scale: float = 1.0) -> Budget:
        if not self.shapes:
            return super().budget(unit, limit, name, scale)
        if unit not in self._terms:
            self._terms[unit] = self._counted(unit, self.shapes)
        terms, beside = self._terms[unit]
        terms = [Term(term.genes, scale * term.table) for term in terms]
        count = len(self.shapes.counts)
        return Coupled(self._genes, terms, limit, name or unit, lambda levels: scale * beside(levels), count)

    def measures(self) -> dict[str, Any]:
        return {name: value for transform in self.transforms for name, value in transform.measures().items()}

    @property
    def updates(self) -> bool:
        return any(transform.updates for transform in self.transforms)

    @property
    def plain(self) -> bool:
        return all(transform.plain for transform in self.transforms)

    def write(self, model: Any) -> None:
        for transform in self.transforms:
            transform.write(model)

    def describe(self) -> dict[str, Any]:
        return {type(transform).__name__: transform.describe() for transform in self.transforms}

    def remarks(self) -> list[str]:
        return [*dict.fromkeys(remark for transform in self.transforms for remark in transform.remarks())]

    def inputs_left(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        return {name: left for each, own in self._parts(genome) for name, left in each.inputs_left(own).items()}

    def told(self, genome: Sequence[float]) -> list[str]:
        return [line for each, own in self._parts(genome) for line in each.told(own)]

    def rows_left(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        return {name: left for each, own in self._parts(genome) for name, left in each.rows_left(own).items()}

    def teacher(self, genome: Sequence[float]) -> list[float]:
        return [value for each, own in self._parts(genome) for value in each.teacher(own)]

    def tokens_left(self, genome: Sequence[float]) -> Sequence[int] | None:
        left = (each.tokens_left(own) for each, own in self._parts(genome))
        return next((tokens for tokens in left if tokens is not None), None)

    def bare(self) -> Transform:
        return combined([each.bare() for each in self.transforms])

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        if times.keys() != set(self._genes.names):
            raise ValueError("other genes")
        for transform in self.transforms:
            transform.use_times({gene.name: times[gene.name] for gene in transform.genes})
        self._genes = self._of_all()
        self._terms.clear()

    def _of_all(self) -> Genes:
        return Genes([replace(gene, kind=type(each).__name__) for each in self.transforms for gene in each.genes])

    def _parts(self, genome: Sequence[float]) -> list[tuple[Transform, Sequence[float]]]:
        return [(each, genome[own]) for each, own in zip(self.transforms, self._slices, strict=True)]

    def _cut(self, genome: Sequence[float]) -> None:
        self._applied = list(genome)
        if self._overlay:
            self._overlay.lift()
        for transform, own in self._parts(genome):
            if transform is not self._overlay:
                transform.apply(own)

    def _lay(self, genome: Sequence[float]) -> None:
        if self._overlay:
            self._overlay.lay(genome[self._slices[-1]], lambda: Remaining.of(self, genome))

    @contextmanager
    def _made_dense(self) -> Iterator[None]:
        before = self._applied
        self.apply(self.dense)
        try:
            yield
        finally:
            self.apply(before)

    @property
    def _vocabularies(self) -> Mapping[int, Sequence[Sequence[int] | None]]:
        """The remaining tokens at each level, by the place of the gene that leaves some out, if there is one."""
        both = zip(self.transforms, self._slices, strict=True)
        return {own.start: each.vocabularies for each, own in both if each.vocabularies}

    def _counted(self, unit: str, shapes: Shapes) -> tuple[list[Term], Beside]:
        if unit == BYTES and self._overlay:
            with self._made_dense():
                return self._overlay.byte_terms(shapes, self._vocabularies)
        if unit not in (BYTES, PARAMETERS, WEIGHTS):
            self.prices(unit)  # refuses it
        matrices = tuple(f"{matrix.name}." for matrix in self.resident.matrices)
        stacks = tuple(f"{mixture.name}." for mixture in self.resident.mixtures)
        size = self.resident.model.dtype.itemsize if unit == BYTES else 1

        def count(name: str, shape: Shape, _: str | None) -> float:
            counts = name.startswith(matrices) if len(shape) == 2 else len(shape) > 2 and name.startswith(stacks)
            return size * prod(shape) if counts or unit != WEIGHTS else 0.0

        return shapes.terms(count), lambda _: 0.0


def combined(transforms: Sequence[Transform]) -> Transform:
    """The one transform, or a :class:`Stack` of several."""
    return transforms[0] if len(transforms) == 1 else Stack(transforms)


def _refuse(one: Transform, other: Transform) -> None:
    """Raise :class:`evoprune.InputError` where the two change the same part, or one leaves zeros that save nothing."""
    names = f"{type(one).__name__} and {type(other).__name__}"
    if any(isinstance(each, Overlay) for each in (one, other)) and (one.sparse or other.sparse):
        raise InputError(f"{names}: zeros save no byte in a .gguf file; leave one of the two out", "problem.transforms")
    if both := one.parts & other.parts:
        shared = " and the ".join(sorted(both))
        raise InputError(
            f"{names} both change the {shared} of a block: choose one or drop: false", "problem.transforms"
        )


def _overlap(cuts: Sequence[Transform]) -> bool:
    of_each = [{part.split()[0] for part in cut.parts} for cut in cuts if not cut.sparse]  # zeros change no shape
    return any(one & other for one, other in combinations(of_each, 2))


def overlay_of(transform: Transform) -> Overlay | None:
    """The transform, or the last of a stack, if it is an overlay."""
    last = _each_of(transform)[-1]
    return last if isinstance(last, Overlay) else None


def cuts_blocks(transform: Transform) -> bool:
    """Return whether the transform, or one of a stack, changes blocks: not only types, or the tokens that stay."""
    return any(not (isinstance(each, Overlay) or each.vocabularies) for each in _each_of(transform))


def _each_of(transform: Transform) -> Sequence[Transform]:
    return transform.transforms if isinstance(transform, Stack) else [transform]


def encoded(transform: Transform) -> Mapping[str, Encoded]:
    """The parameters that a .gguf file of the model as it is now holds in a quantised type, by their names."""
    overlay = overlay_of(transform)
    return overlay.encoded() if overlay else {}


def encode(transform: Transform, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:
    """As :func:`encoded`, for a ``model`` that was trained before its matrices are quantised to those of ``genome``."""
    if (overlay := overlay_of(transform)) is None:
        return {}
    return overlay.encode(model, genome[len(cutting(transform, genome)) :], lambda: Remaining.of(transform, genome))


def cutting(transform: Transform, genome: Sequence[float]) -> Sequence[float]:
    """The genes of ``genome`` that decide shapes: all but an overlay's, which are the last."""
    overlay = overlay_of(transform)
    return genome[: len(genome) - len(overlay.genes)] if overlay else genome


def base_of(transform: Transform) -> str | None:
    """The .gguf file of the dense model that the settings name, if they do: exports copy its tokenizer."""
    overlay = overlay_of(transform)
    return overlay.base if overlay else None
