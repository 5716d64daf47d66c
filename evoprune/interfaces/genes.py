"""The space of vectors: genes that are real intervals or levels, mixed as a problem needs them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from operator import eq
from typing import Any

from evoprune.console.errors import as_tuple, cut_repr
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.gene import Gene, GeneError
from evoprune.interfaces.gene_table import GeneTable
from evoprune.interfaces.space import Genome, Operator, Space

__all__ = ("Gene", "GeneError", "Genes", "clipped")


def clipped(values: Iterable[float], low: Sequence[float], up: Sequence[float]) -> list[float]:
    """``values``, each at the nearest number between its bounds."""
    return [
        least if value < least else most if value > most else value
        for value, least, most in zip(values, low, up, strict=True)
    ]


class Genes(GeneTable, Space):
    """The genes of a genome, in order: at least one, with different names. Raises :class:`GeneError` for others.

    The value of an inactive gene is the middle of its range, so that genomes with equal active genes are equal.

    >>> from evoprune import Gene, Genes
    >>> genes = Genes([Gene("rate"), Gene.of_levels("bits", [2, 4, 8])])
    >>> genes.chosen([0.5, 2.0]), genes.allow([0.5, 1.5])
    ([0.5, 8], False)
    """

    name = "genes"

    @classmethod
    def real(cls, names: Sequence[str], low: float, up: float, scale: float | None = None) -> Genes:
        return cls([Gene(name, low, up, scale=scale) for name in as_tuple(names, "names")])

    def nearest(self, genome: Sequence[float]) -> list[float]:
        """``genome`` with each gene at its nearest value: within its bounds, at a level where it has levels."""
        nearest = clipped(genome, self.low, self.up)
        for place in self.with_levels:
            value = nearest[place]
            nearest[place] = self[place].nearest(value) if value % 1 else value + 0.0  # never -0.0
        for place in self.inactive(nearest):
            nearest[place] = self[place].nearest((self[place].low + self[place].up) / 2)
        return nearest

    def check(self, genome: Sequence[float]) -> None:
        """Raise :class:`GeneError` unless ``genome`` has a finite number for each gene, in its bounds or not."""
        if len(genome) != len(self):
            raise GeneError(f"expected {len(self)} genes, got {len(genome)}")
        try:
            finite = all(map(math.isfinite, genome))
        except TypeError:
            finite = False
        if not finite:
            raise GeneError(f"expected finite numbers, got {cut_repr(list(genome))}")

    def allow(self, genome: Sequence[float]) -> bool:
        """Return whether ``genome`` has a possible value for each gene."""
        return len(genome) == len(self) and all(map(eq, genome, self.nearest(genome)))  # no nan is equal

    def random(self) -> list[float]:
        """A genome drawn evenly from all values, from the global :mod:`random`."""
        drawn = [gene.random() for gene in self]
        return self.nearest(drawn) if self.conditions else drawn

    def chosen(self, genome: Sequence[float]) -> list[Any]:
        """Decode ``genome``: see :meth:`Gene.chosen`; None of an inactive gene."""
        values: list[Any] = list(genome)
        for place, levels in self.of_levels:
            values[place] = levels[int(values[place])]
        for place in self.logarithmic:
            values[place] = self[place].chosen(values[place])
        for place in self.inactive(genome) if self.conditions else ():
            values[place] = None
        return values

    def encoded(self, values: Sequence[Any]) -> list[float]:
        """Return the genome of ``values``: see :meth:`Gene.encoded`; None is the value of an inactive gene.

        Raises :class:`GeneError` for impossible values, and for None of an active gene.
        """
        values = as_tuple(values, "values")
        if len(values) != len(self):
            raise GeneError(f"expected {len(self)} values, got {len(values)}")
        genome = [
            gene.low if gene.when and value is None and gene.place(None) is None else gene.encoded(value)
            for gene, value in zip(self, values, strict=True)
        ]
        for place in {*range(len(self))} - self.inactive(genome):
            self[place].encoded(values[place])
        return self.nearest(genome)

    def key(self, value: Sequence[Any]) -> Hashable:
        return tuple(value)

    @property
    def supplied(self) -> Mapping[str, Any]:
        return {"genes": self, "low": self.low, "up": self.up}

    def adapted(self, slot: str, operator: Operator | None) -> Operator:
        """Return ``operator`` so that it keeps options whole and draws inactive genes; a repair ends at levels."""
        if slot == "repair" or operator is None:
            return partial(_to_nearest, operator, self) if self.conditions or operator is None else operator
        if slot == "mate" and self.unordered:
            operator = partial(_mate_by_options, operator, self.unordered)
        return partial(_with_inactive_drawn, operator, self) if self.conditions else operator

    def shown(self, genome: Sequence[float]) -> Mapping[str, Any]:
        return dict(zip(self.names, self.chosen(genome), strict=True))

    def describe(self) -> str:
        return f"{len(self)} genes"

    def from_json(self, value: Any) -> Genome:
        if isinstance(value, list | tuple) and bool in map(type, value):
            raise GeneError(f"expected numbers, got {cut_repr(value)}")
        return super().from_json(value)


def _mate_by_options(
    mate: Callable[[Individual, Individual], tuple[Individual, Individual]], unordered: Sequence[int],
    first: Individual, second: Individual,
) -> tuple[Individual, Individual]:  # fmt: skip
    """Mate; each child has the option of one parent in each gene without an order."""
    options = [random.sample((first[place], second[place]), 2) for place in unordered]
    first, second = mate(first, second)
    for place, (one, other) in zip(unordered, options, strict=True):
        first[place], second[place] = one, other
    return first, second


def _with_inactive_drawn(
    vary: Callable[..., tuple[Individual, ...]], genes: Genes, *individuals: Individual
) -> tuple[Individual, ...]:
    """Vary; inactive genes, which may become active, first take the value of the other parent, or a random one."""
    inactive = [genes.inactive(individual) for individual in individuals]
    for individual, absent in zip(individuals, inactive, strict=True):
        for place in sorted(absent):
            others = (other for other, places in zip(individuals, inactive, strict=True) if place not in places)
            other = next(others, None)
            individual[place] = genes[place].random() if other is None else other[place]
    return vary(*individuals)


def _to_nearest(
    repair: Callable[[Individual], tuple[Individual]] | None, genes: Genes, individual: Individual
) -> tuple[Individual]:
    (individual,) = repair(individual) if repair else (individual,)
    individual[:] = genes.nearest(individual)
    return (individual,)
