"""Shapes of the parameters of a model by the levels of the genes that prune it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy

from evoprune import Term
from evoprune.problems.language_model.transforms.transform import Transform

Shape = tuple[int, ...]

Kinds = Mapping[str, tuple[int, Sequence[str]]]
"""By name of a parameter that may be quantised: the place of its gene, and the gene's levels."""


@dataclass(frozen=True)
class Shapes:
    """The ``dense`` shape of each parameter, by name; ``cuts``: by a gene's place, the shapes at the gene's levels.

    A dropped parameter has a shape of zeros. If several genes prune a parameter, each size is the minimum. ``counts``:
    the number of levels of each gene.
    """

    dense: Mapping[str, Shape]
    cuts: Mapping[str, Mapping[int, Sequence[Shape]]]
    counts: Sequence[int]

    @classmethod
    def of(cls, model: Any, transforms: Sequence[Transform]) -> Self:
        """Apply each level of each gene of ``transforms`` alone to ``model``, which is dense."""
        dense, tried = _shapes(model), []
        for transform in transforms:
            bare = transform.bare()
            for place, gene in enumerate(bare.genes):
                levels = []
                for level in range(len(gene.levels)):
                    genome = bare.dense
                    genome[place] = float(level)
                    bare.apply(genome)
                    levels.append(_shapes(model))
                tried.append(levels)
            bare.apply(bare.dense)
        cuts = {}
        for name, shape in dense.items():
            at_levels = [[shapes.get(name, (0,) * len(shape)) for shapes in levels] for levels in tried]
            cuts[name] = {place: shapes for place, shapes in enumerate(at_levels) if {*shapes} - {shape}}
        return cls(dense, cuts, [len(levels) for levels in tried])

    def shape(self, name: str, levels: Sequence[int]) -> Shape:
        cuts = self.cuts[name]
        return _minimum([shapes[levels[place]] for place, shapes in cuts.items()]) if cuts else self.dense[name]

    def changed(self, place: int) -> list[tuple[Shape, tuple[Shape, ...]]]:
        """Return the sorted dense shapes, and shapes by level, of the parameters that the gene at ``place`` prunes."""
        return sorted((self.dense[name], tuple(cut[place])) for name, cut in self.cuts.items() if place in cut)

    def possible(self, name: str) -> set[Shape]:
        """Return all shapes that the parameter ``name`` may have, unless it is dropped."""
        combined = {_minimum([self.dense[name], *shapes]) for shapes in product(*self.cuts[name].values())}
        return {shape for shape in combined if all(shape)}

    def terms(self, count: Callable[[str, Shape, str | None], float], kinds: Kinds | None = None) -> list[Term]:
        """Return the sum over all parameters of ``count(name, shape, type)``; the type is None unless in ``kinds``."""
        kinds = kinds or {}
        tables: dict[tuple[int, ...], Any] = {}
        for name in self.dense:
            places, typed = tuple(self.cuts[name]), kinds.get(name)
            sizes = [self.counts[place] for place in places]
            levels = [0] * len(self.counts)
            table = numpy.empty((*sizes, len(typed[1]) if typed else 1))
            for at in product(*map(range, sizes)):
                for place, level in zip(places, at, strict=True):
                    levels[place] = level
                shape = self.shape(name, levels)
                table[at] = [count(name, shape, kind) for kind in (typed[1] if typed else (None,))]
            key = (*places, typed[0]) if typed else places
            tables[key] = tables.get(key, 0.0) + (table if typed else table[..., 0])
        return [Term(genes, numpy.asarray(table)) for genes, table in tables.items()]


def _shapes(model: Any) -> dict[str, Shape]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _minimum(shapes: Sequence[Shape]) -> Shape:
    return tuple(map(min, zip(*shapes, strict=True)))
