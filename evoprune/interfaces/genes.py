"""Genes of a genome: real intervals or ordered levels, mixed as a problem needs them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from operator import eq
from typing import Any, Self

from evoprune.console.errors import InputError


class GeneError(InputError, ValueError):
    """An impossible gene, or value of one."""


@dataclass(frozen=True)
class Gene:
    """One gene: a number in [low, up], or the index of a level in ``levels``.

    ``name``: unique within a genome. ``harms``: relative cost of each level, at least 0, None if unknown; empty if
    nothing is known. ``absolute``: the harms are in the unit of the loss, known for all levels, and none is measured.
    ``kind``: subject of the gene (channels, types); genes of one kind interact alike. ``exponent``: the genome stores
    the logarithm, to base 10, of the gene's value. ``ordered``: False for levels without neighbours: mutation draws any
    other level, crossover copies that of a parent. ``scale``: unit of steps of operators; None for the range. ``when``:
    the name of an earlier gene with levels, and a level; at its other levels this gene is inactive, and its value is
    None.

    >>> from evoprune import Gene
    >>> Gene("sparsity", 0.0, 0.9).nearest(1.5)
    0.9
    >>> Gene.choice("activation", ["relu", "gelu"]).chosen(1.0)
    'gelu'
    """

    name: str
    low: float = 0.0
    up: float = 1.0
    levels: tuple[Any, ...] = ()
    harms: tuple[float | None, ...] = ()
    absolute: bool = False
    kind: str = ""
    exponent: bool = False
    ordered: bool = True
    scale: float | None = None
    when: tuple[str, Any] | None = None

    @classmethod
    def of_levels(
        cls, name: str, levels: Sequence[Any], harms: Sequence[float | None] = (), *,
        when: tuple[str, Any] | None = None,
    ) -> Gene:  # fmt: skip
        """One of ``levels``. Raises :class:`GeneError` where there are none."""
        if not levels:
            raise GeneError(f"gene '{name}': expected at least one level")
        return cls(name, 0.0, float(len(levels) - 1), tuple(levels), tuple(harms), when=when)

    @classmethod
    def integer(cls, name: str, low: int, up: int, *, when: tuple[str, Any] | None = None) -> Gene:
        """A whole number from ``low`` to ``up``."""
        if not (isinstance(low, Integral) and isinstance(up, Integral) and low <= up):
            raise GeneError(f"gene '{name}': expected whole numbers low <= up, got {low} and {up}")
        return cls.of_levels(name, range(low, up + 1), when=when)

    @classmethod
    def log(cls, name: str, low: float, up: float, *, when: tuple[str, Any] | None = None) -> Gene:
        """A number from ``low``, above 0, to ``up``, searched by its logarithm."""
        if not 0 < low <= up < math.inf:
            raise GeneError(f"gene '{name}': expected 0 < low <= up on a logarithmic scale, got {low:g} and {up:g}")
        return cls(name, math.log10(low), math.log10(up), exponent=True, when=when)

    @classmethod
    def choice(cls, name: str, options: Sequence[Any], *, when: tuple[str, Any] | None = None) -> Gene:
        """One of some ``options`` without an order."""
        return replace(cls.of_levels(name, options, when=when), ordered=False)

    def __post_init__(self) -> None:
        if not -math.inf < self.low <= self.up < math.inf:
            raise GeneError(f"gene '{self.name}': expected finite low <= up, got {self.low:g} and {self.up:g}")
        if self.levels and (self.low, self.up) != (0.0, len(self.levels) - 1):
            raise GeneError(f"gene '{self.name}': the bounds of levels are their indices; use Gene.of_levels")
        if len({*self.levels}) < len(self.levels):
            raise GeneError(f"gene '{self.name}': expected different levels; 1, 1.0 and True are equal")
        known = [harm for harm in self.harms if harm is not None]
        if self.harms and (len(self.harms) != len(self.levels) or not (known and min(known) >= 0 < max(known))):
            raise GeneError(f"gene '{self.name}': expected a harm of at least 0 or None for each level, one above 0")

    @property
    def free(self) -> bool:
        return self.low < self.up

    @property
    def span(self) -> float:
        """The change that steps are shares of: :attr:`scale`, or the range; 1 of a fixed gene."""
        return self.scale or self.up - self.low or 1.0

    def chosen(self, value: float) -> Any:
        """Decode the number ``value`` in a genome: the level itself, or the number on its own scale."""
        if self.levels:
            return self.levels[int(value)]
        if not self.exponent:
            return value
        low, up = self._bounds
        return low if value <= self.low else up if value >= self.up else min(max(10.0**value, low), up)

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        """The bounds that a user gave :meth:`log`, which powers of ten may miss by their last digits."""
        return _power(self.low), _power(self.up)

    def encoded(self, value: Any) -> float:
        """Return the number in a genome that :meth:`chosen` decodes to ``value``. Raises :class:`GeneError`."""
        if self.levels and value in self.levels:
            return float(self.levels.index(value))
        if not self.levels and isinstance(value, int | float) and (not self.exponent or value > 0):
            number = math.log10(value) if self.exponent else float(value)
            if math.isclose(self.nearest(number), number, rel_tol=1e-12, abs_tol=1e-12):
                return self.nearest(number)
        if names := [*map(repr, self.levels)]:
            expected = f"one of {', '.join(names if len(names) < 9 else [*names[:3], '...', names[-1]])}"
        else:
            expected = f"a number from {self.chosen(self.low):g} to {self.chosen(self.up):g}"
        got = "no value" if value is None else repr(value)
        raise GeneError(f"gene '{self.name}': expected {expected}, got {got}")

    def random(self) -> float:
        """A value drawn evenly from all, from the global :mod:`random`."""
        return float(random.randrange(len(self.levels))) if self.levels else random.uniform(self.low, self.up)

    def nearest(self, value: float) -> float:
        """The nearest value of this gene; half way between two levels, the lower one."""
        inside = min(max(value, self.low), self.up)
        return float(-((0.5 - inside) // 1)) + 0.0 if self.levels else inside  # + 0.0: never -0.0


def _power(exponent: float) -> float:
    """Return the number with the fewest digits whose logarithm to base 10 is ``exponent``."""
    power = 10.0**exponent
    rounded = (float(f"{power:.{digits}g}") for digits in range(1, 17))
    return next((number for number in rounded if number and math.log10(number) == exponent), power)


def clipped(values: Iterable[float], low: Sequence[float], up: Sequence[float]) -> list[float]:
    """``values``, each at the nearest number between its bounds."""
    return [
        least if value < least else most if value > most else value
        for value, least, most in zip(values, low, up, strict=True)
    ]


class Genes(tuple[Gene, ...]):
    """The genes of a genome, in order: at least one, with different names. Raises :class:`GeneError` for others.

    The value of an inactive gene is the middle of its range, so that genomes with equal active genes are equal.

    >>> from evoprune import Gene, Genes
    >>> genes = Genes([Gene("rate"), Gene.of_levels("bits", [2, 4, 8])])
    >>> genes.chosen([0.5, 2.0]), genes.allow([0.5, 1.5])
    ([0.5, 8], False)
    """

    def __new__(cls, genes: Iterable[Gene]) -> Self:
        self = super().__new__(cls, genes)
        if not self:
            raise GeneError("expected at least one gene")
        if len({gene.name for gene in self}) < len(self):
            raise GeneError("expected another name for each gene")
        for place, gene in enumerate(self):
            if gene.when and not any(gene.when[0] == one.name and gene.when[1] in one.levels for one in self[:place]):
                raise GeneError(f"gene '{gene.name}': expected an earlier gene and one of its levels, got {gene.when}")
        return self

    @classmethod
    def real(cls, names: Sequence[str], low: float, up: float, scale: float | None = None) -> Genes:
        return cls([Gene(name, low, up, scale=scale) for name in names])

    @cached_property
    def names(self) -> list[str]:
        return [gene.name for gene in self]

    @cached_property
    def low(self) -> list[float]:
        return [gene.low for gene in self]

    @cached_property
    def up(self) -> list[float]:
        return [gene.up for gene in self]

    @cached_property
    def free(self) -> list[int]:
        """Places of the genes with more than one value."""
        return [place for place, gene in enumerate(self) if gene.free]

    @cached_property
    def unordered(self) -> list[int]:
        return [place for place, gene in enumerate(self) if not gene.ordered]

    @cached_property
    def spans(self) -> list[float]:
        return [gene.span for gene in self]

    @cached_property
    def with_levels(self) -> list[int]:
        return [place for place, gene in enumerate(self) if gene.levels]

    @cached_property
    def size(self) -> float:
        """Number of different genomes; infinite where a gene without levels is free."""
        of_condition: dict[Any, list[Gene]] = {}
        for gene in self:
            of_condition.setdefault(gene.when, []).append(gene)

        def count(condition: Any) -> float:
            return math.prod(map(values, of_condition.get(condition, ())), start=1.0)

        def values(gene: Gene) -> float:
            return sum(count((gene.name, level)) for level in gene.levels) or (math.inf if gene.free else 1.0)

        return count(None)

    @cached_property
    def conditions(self) -> list[tuple[int, int, float]]:
        """Places of each conditional gene and its deciding gene, and the level of the latter that activates it."""
        return [
            (place, self.names.index(gene.when[0]), self[self.names.index(gene.when[0])].encoded(gene.when[1]))
            for place, gene in enumerate(self)
            if gene.when
        ]

    def inactive(self, genome: Sequence[float]) -> set[int]:
        """Places of the genes whose condition ``genome`` does not meet, or whose deciding gene is itself inactive."""
        places: set[int] = set()
        for place, decides, level in self.conditions:
            if genome[decides] != level or decides in places:
                places.add(place)
        return places

    def nearest(self, genome: Sequence[float]) -> list[float]:
        """``genome`` with each gene at its nearest value: within its bounds, at a level where it has levels."""
        nearest = clipped(genome, self.low, self.up)
        for place in self.with_levels:
            nearest[place] = self[place].nearest(nearest[place])
        for place in self.inactive(nearest):
            nearest[place] = self[place].nearest((self[place].low + self[place].up) / 2)
        return nearest

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
        for place in self._decoded:
            values[place] = self[place].chosen(values[place])
        for place in self.inactive(genome):
            values[place] = None
        return values

    def encoded(self, values: Sequence[Any]) -> list[float]:
        """Return the genome of ``values``: see :meth:`Gene.encoded`; None is the value of an inactive gene.

        Raises :class:`GeneError` for impossible values, and for None of an active gene.
        """
        if len(values) != len(self):
            raise GeneError(f"expected {len(self)} values, got {len(values)}")
        genome = [
            gene.low if gene.when and value is None and None not in gene.levels else gene.encoded(value)
            for gene, value in zip(self, values, strict=True)
        ]
        for place in {*range(len(self))} - self.inactive(genome):
            self[place].encoded(values[place])
        return self.nearest(genome)

    @cached_property
    def _decoded(self) -> list[int]:
        return [place for place, gene in enumerate(self) if gene.levels or gene.exponent]
