"""The shapes that the parameters of a model can have, by the levels of the genes that cut it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy

from evoprune import Term
from evoprune.problems.language_model.transforms.transform import Transform

Shape = tuple[int, ...]

Kinds = Mapping[str, tuple[int, Sequence[str]]]
"""Of parameters that are stored in other types, by name: the place of a gene, and its levels."""


@dataclass(frozen=True)
class Shapes:
    """The ``dense`` shape of each parameter, by name; and by a gene's place, the shapes at its levels in ``cuts``.

    A parameter that is dropped has a shape of zeros. Where several genes change one, each size is the least.
    ``counts``: the number of levels of each gene.
    """

    dense: Mapping[str, Shape]
    cuts: Mapping[str, Mapping[int, Sequence[Shape]]]
    counts: Sequence[int]

    @classmethod
    def of(cls, model: Any, transforms: Sequence[Transform]) -> Self:
        """Try each level of each gene of ``transforms``, one after the other, on ``model``, which is dense."""
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
            at_levels = [[each.get(name, (0,) * len(shape)) for each in levels] for levels in tried]
            cuts[name] = {place: own for place, own in enumerate(at_levels) if any(each != shape for each in own)}
        return cls(dense, cuts, [len(levels) for levels in tried])

    def shape(self, name: str, levels: Sequence[int]) -> Shape:
        cuts = self.cuts[name]
        return _least([shapes[levels[place]] for place, shapes in cuts.items()]) if cuts else self.dense[name]

    def changed(self, place: int) -> list[tuple[Shape, tuple[Shape, ...]]]:
        """Return the dense shape and the shapes by level of each parameter that the gene at ``place`` cuts; sorted."""
        return sorted((self.dense[name], tuple(cut[place])) for name, cut in self.cuts.items() if place in cut)

    def possible(self, name: str) -> set[Shape]:
        """Return all shapes that the parameter ``name`` may have while it is there."""
        shapes_there = {_least([self.dense[name], *shapes]) for shapes in product(*self.cuts[name].values())}
        return {shape for shape in shapes_there if all(shape)}

    def terms(self, count: Callable[[str, Shape, str | None], float], kinds: Kinds | None = None) -> list[Term]:
        """Return the sum of ``count`` over all parameters: by name, shape, and type if it is one of ``kinds``."""
        kinds = kinds or {}
        tables: dict[tuple[int, ...], Any] = {}
        for name in self.dense:
            places, own = tuple(self.cuts[name]), kinds.get(name)
            sizes = [self.counts[place] for place in places]
            levels = [0] * len(self.counts)
            table = numpy.empty((*sizes, len(own[1]) if own else 1))
            for at in product(*map(range, sizes)):
                for place, level in zip(places, at, strict=True):
                    levels[place] = level
                shape = self.shape(name, levels)
                table[at] = [count(name, shape, kind) for kind in (own[1] if own else (None,))]
            key = (*places, own[0]) if own else places
            tables[key] = tables.get(key, 0.0) + (table if own else table[..., 0])
        return [Term(genes, numpy.asarray(table)) for genes, table in tables.items()]


def _shapes(model: Any) -> dict[str, Shape]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _least(shapes: Sequence[Shape]) -> Shape:
    return tuple(map(min, zip(*shapes, strict=True)))
