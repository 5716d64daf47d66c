"""The shapes that the parameters of a model can have, by the levels of the genes that cut it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy

from evoprune import Term
from problems.transforms.transform import Transform

Shape = tuple[int, ...]

Kinds = Mapping[str, tuple[int, Sequence[str]]]
"""Of parameters that are stored in other types, by name: the place of a gene, and its levels."""


@dataclass(frozen=True)
class Shapes:
    """The ``dense`` shape of each parameter, by name; and by a gene's place, what each of its levels ``cuts`` it to.

    A parameter that is dropped has a shape of zeros. Where several genes cut it, each size is the least of theirs.
    ``counts``: how many levels each gene has.
    """

    dense: Mapping[str, Shape]
    cuts: Mapping[str, Mapping[int, Sequence[Shape]]]
    counts: Sequence[int]

    @classmethod
    def of(cls, model: Any, transforms: Sequence[Transform]) -> Shapes:
        """Try each level of each gene of ``transforms``, one after the other, on ``model``, which is dense."""
        dense = _shapes(model)
        cuts: dict[str, dict[int, list[Shape]]] = {name: {} for name in dense}
        counts: list[int] = []
        for transform in transforms:
            bare = transform.bare()
            for place, gene in enumerate(bare.genes):
                tried = []
                for level in range(len(gene.levels)):
                    genome = bare.dense
                    genome[place] = float(level)
                    bare.apply(genome)
                    tried.append(_shapes(model))
                for name, shape in dense.items():
                    found = [shapes.get(name, (0,) * len(shape)) for shapes in tried]
                    if any(each != shape for each in found):
                        cuts[name][len(counts)] = found
                counts.append(len(gene.levels))
            bare.apply(bare.dense)
        return cls(dense, cuts, counts)

    def shape(self, name: str, levels: Sequence[int]) -> Shape:
        """That of the parameter ``name`` where genes have these ``levels``."""
        found = [self.dense[name], *(shapes[levels[place]] for place, shapes in self.cuts[name].items())]
        return tuple(map(min, zip(*found, strict=True)))

    def changed(self, place: int) -> list[tuple[Shape, tuple[Shape, ...]]]:
        """The dense shape of each parameter that the gene at ``place`` cuts, and those at its levels; sorted."""
        return sorted((self.dense[name], tuple(cut[place])) for name, cut in self.cuts.items() if place in cut)

    def possible(self, name: str) -> set[Shape]:
        """All shapes that the parameter ``name`` may have while it is there."""
        tables = product(*self.cuts[name].values())
        found = {tuple(map(min, zip(self.dense[name], *shapes, strict=True))) for shapes in tables}
        return {shape for shape in found if all(shape)}

    def terms(self, count: Callable[[str, Shape, str | None], float], kinds: Kinds | None = None) -> list[Term]:
        """What ``count`` says of each parameter: by its name, its shape, and its type if it is one of ``kinds``."""
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
