"""The costs of a stack's genomes: added up, or counted from the shapes that several cuts leave."""

import math
from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any

from evoprune import Additive, Budget, Coupled, InputError, Term
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.transforms.costs import (
    ATTENTION,
    BYTES,
    PARAMETERS,
    WEIGHTS,
    Prices,
    costs_of,
    scaled,
)
from evoprune.problems.language_model.transforms.latency import PassTimer, Timer
from evoprune.problems.language_model.transforms.overlay import Beside
from evoprune.problems.language_model.transforms.shapes import Kinds, Shape, Shapes
from evoprune.problems.language_model.transforms.stack.parts import Parts

_UNITS = (WEIGHTS, PARAMETERS, ATTENTION, BYTES)
_TIMED = (WEIGHTS, PARAMETERS, ATTENTION)  # levels that leave the same of these are taken to be as fast


class StackCosts(Parts):
    """The costs of genomes.

    They add up, as long as a part that one transform changes costs nothing in another; else they are counted from
    ``shapes``, and the cost of a gene depends on others.
    """

    @property
    def sparse(self) -> bool:
        return any(each.sparse for each in self.transforms)

    @property
    def units(self) -> Collection[str]:
        if self._alone:
            return self._alone.units
        return [unit for unit in _UNITS if all(unit in (*each.units, BYTES) for each in self.transforms)]

    def costs(self, unit: str) -> Prices:
        """The costs of genomes in ``unit``, see :mod:`evoprune.problems.language_model.transforms.costs`."""
        return costs_of(self, unit, self._name)

    def prices(self, unit: str) -> Prices:
        if self._alone:
            return self._alone.prices(unit)
        if self.shapes:
            raise InputError(f"operations that {self._name} spend together cannot be counted yet", "problem.budget")
        costs = [costs_of(transform, unit, type(transform).__name__) for transform in self.transforms]
        changes, dense = [], 0.0
        for transform, (own, fixed) in zip(self.transforms, costs, strict=True):
            dense = Additive(transform.genes, own, None, fixed=fixed).spent(transform.dense)
            changes.append(fixed - dense)
        return [price for own, _ in costs for price in own], dense + math.fsum(changes)

    def budget(self, unit: str, limit: float | None, name: str | None = None, scale: float = 1.0) -> Budget:
        """At most ``limit`` of ``scale`` times the cost in ``unit``, which people call ``name``."""
        if not self.shapes:
            prices, fixed = scaled(self.costs(unit), scale)
            return Additive(self.genes, prices, limit, name or unit, fixed)
        terms, beside = self._counted(unit, self.shapes)
        terms = [Term(term.genes, scale * term.table) for term in terms]
        count = len(self.shapes.counts)
        return Coupled(self.genes, terms, limit, name or unit, lambda levels: scale * beside(levels), count)

    def timer(self, load: Load) -> Timer:
        """The timer of the models under ``load``; types, if there are any, decide the runtime."""
        shapes = self.shapes
        cuts: list[Any] = [shapes.changed(place) for place in range(len(shapes.counts))] if shapes else []
        if self._overlay:
            return self._overlay.timer(self, load, cuts)
        if not shapes:
            costs = [self.costs(unit)[0] for unit in _TIMED if unit in self.units]
            cuts = list(zip(*costs, strict=True))
        return PassTimer(self, load, cuts)

    @property
    def kinds(self) -> Kinds:
        """The types of each parameter that may be quantised; the first is dense."""
        return self._overlay.kinds(self.shapes) if self._overlay and self.shapes else {}

    @property
    def _name(self) -> str:
        return " and ".join(type(transform).__name__ for transform in self.transforms)

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
