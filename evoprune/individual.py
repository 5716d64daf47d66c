"""Individuals, which DEAP's operators work on: lists of genes with a fitness.

Both classes are ordinary module-level classes, not ones made by :mod:`deap.creator`:
classes made at run time pickle into new classes in every process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from deap import base


class Fitness(base.Fitness):
    """A DEAP fitness whose weights belong to the instance, because problems differ in them.

    ``weights``: one number an objective, negative to minimise, positive to maximise.
    """

    weights: Sequence[float] = (-1.0,)

    def __init__(self, weights: Sequence[float] = (-1.0,), values: Sequence[float] = ()) -> None:
        self.weights = tuple(weights)
        super().__init__(values)

    def __deepcopy__(self, memo: dict[int, Any]) -> Fitness:
        copy = Fitness(self.weights)
        copy.wvalues = self.wvalues
        return copy


class Individual(list[float]):
    """A genome (a list of float genes) with its fitness and where it came from.

    ``ident``: its number in the history, in the order of breeding; None until scored.
    ``parents``: the numbers of the individuals it was bred from; empty if drawn at random.
    """

    def __init__(
        self, genes: Iterable[float] = (), weights: Sequence[float] = (-1.0,), parents: Sequence[int] = ()
    ) -> None:
        super().__init__(genes)
        self.fitness = Fitness(weights)
        self.ident: int | None = None
        self.parents = tuple(parents)

    def __deepcopy__(self, memo: dict[int, Any]) -> Individual:
        copy = Individual(self, self.fitness.weights, self.parents)
        copy.fitness = deepcopy(self.fitness, memo)
        copy.ident = self.ident
        return copy

    def child(self) -> Individual:
        """A copy that is yet to be scored, with this as its parent; operators may change it in place."""
        return Individual(self, self.fitness.weights, () if self.ident is None else (self.ident,))

    @property
    def genome(self) -> tuple[float, ...]:
        """The genes as a hashable value: the key of the memo."""
        return tuple(self)
