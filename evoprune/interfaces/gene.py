"""A gene: a real interval or ordered levels."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real
from types import NoneType
from typing import Any

from evoprune.console.errors import InputError, as_tuple, cut_repr


class GeneError(InputError, ValueError):
    """An impossible gene, or value of one."""


_MOST = 2**52  # levels: the indices, and the halves between them, are exact as floats

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "name": ((str,), "text"),
    "low": ((Real,), "a number"),
    "up": ((Real,), "a number"),
    "levels": ((tuple, range), "a tuple"),
    "level_losses": ((tuple,), "a tuple"),
    "absolute": ((bool,), "True or False"),
    "kind": ((str,), "text"),
    "exponent": ((bool,), "True or False"),
    "ordered": ((bool,), "True or False"),
    "scale": ((Real, NoneType), "a number"),
    "when": ((tuple, NoneType), "the name of a gene and one of its levels"),
}
"""Types of the fields of a gene, and their names for people."""


@dataclass(frozen=True)
class Gene:
    """One gene: a number in [low, up], or the index of a level in ``levels``.

    ``name``: unique within a genome. ``level_losses``: relative loss by each level, at least 0, None if
    unknown; empty if nothing is known. ``absolute``: they are in the unit of the loss, and none is measured.
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
    levels: Sequence[Any] = ()  # a tuple, or a range
    level_losses: tuple[float | None, ...] = ()
    absolute: bool = False
    kind: str = ""
    exponent: bool = False
    ordered: bool = True
    scale: float | None = None
    when: tuple[str, Any] | None = None

    @classmethod
    def of_levels(
        cls, name: str, levels: Sequence[Any], level_losses: Sequence[float | None] = (), *,
        when: tuple[str, Any] | None = None,
    ) -> Gene:  # fmt: skip
        """One of ``levels``. Raises :class:`GeneError` where there are none."""
        levels, level_losses = (
            as_tuple(levels, f"gene '{name}': levels"),
            as_tuple(level_losses, f"gene '{name}': level_losses"),
        )
        if not levels:
            raise GeneError(f"gene '{name}': expected at least one level")
        return cls(name, 0.0, float(len(levels) - 1), levels, level_losses, when=when)

    @classmethod
    def integer(cls, name: str, low: int, up: int, *, when: tuple[str, Any] | None = None) -> Gene:
        """A whole number from ``low`` to ``up``."""
        if not (isinstance(low, Integral) and isinstance(up, Integral) and 0 <= up - low < _MOST):
            got = f"{cut_repr(low)} and {cut_repr(up)}"
            raise GeneError(f"gene '{name}': expected whole numbers low <= up, fewer than 2**52, got {got}")
        return cls(name, 0.0, float(up - low), range(low, up + 1), when=when)

    @classmethod
    def log(cls, name: str, low: float, up: float, *, when: tuple[str, Any] | None = None) -> Gene:
        """A number from ``low``, above 0, to ``up``, searched by its logarithm."""
        if not (_is_finite(low) and _is_finite(up) and 0 < low <= up):
            got = f"{cut_repr(low)} and {cut_repr(up)}"
            raise GeneError(f"gene '{name}': expected 0 < low <= up on a logarithmic scale, got {got}")
        return cls(name, math.log10(low), math.log10(up), exponent=True, when=when)

    @classmethod
    def choice(cls, name: str, options: Sequence[Any], *, when: tuple[str, Any] | None = None) -> Gene:
        """One of some ``options`` without an order."""
        return replace(cls.of_levels(name, options, when=when), ordered=False)

    def __post_init__(self) -> None:
        for field, (kinds, expected) in _KINDS.items():
            if not isinstance(value := getattr(self, field), kinds):
                raise GeneError(f"gene {cut_repr(self.name)}: {field}: expected {expected}, got {cut_repr(value)}")
        if not (_is_finite(self.low) and _is_finite(self.up) and self.low <= self.up):
            got = f"{cut_repr(self.low)} and {cut_repr(self.up)}"
            raise GeneError(f"gene '{self.name}': expected finite low <= up, got {got}")
        if self.scale is not None and not (_is_finite(self.scale) and self.scale > 0):
            raise GeneError(f"gene '{self.name}': scale: expected a number above 0, got {cut_repr(self.scale)}")
        if self.when is not None and not (len(self.when) == 2 and isinstance(self.when[0], str)):
            raise GeneError(f"gene '{self.name}': when: expected {_KINDS['when'][1]}, got {cut_repr(self.when)}")
        if self.levels and (self.low, self.up) != (0.0, len(self.levels) - 1):
            raise GeneError(f"gene '{self.name}': the bounds of levels are their indices; use Gene.of_levels")
        if isinstance(self.levels, tuple) and len(self._places) < len(self.levels):
            raise GeneError(f"gene '{self.name}': expected different levels; 1, 1.0 and True are equal")
        known = [level_loss for level_loss in self.level_losses if level_loss is not None]
        numbers = all(isinstance(level_loss, Real) for level_loss in known) and known
        if self.level_losses and not (
            len(self.level_losses) == len(self.levels) and numbers and min(known) >= 0 < max(known)
        ):
            raise GeneError(f"gene '{self.name}': expected a loss of at least 0 or None for each level, one above 0")

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

    def place(self, level: Any) -> int | None:
        """The index of ``level``; None if it is none of the levels."""
        try:
            if isinstance(self.levels, range):
                whole = int(level)
                return self.levels.index(whole) if whole == level else None
            return self._places.get(level)
        except (TypeError, ValueError, OverflowError):  # no number, or out of range; not hashable
            return None

    @cached_property
    def _places(self) -> dict[Any, int]:
        try:
            return {level: place for place, level in enumerate(self.levels)}
        except TypeError:
            raise GeneError(f"gene '{self.name}': expected levels that are hashable, as texts and numbers") from None

    def encoded(self, value: Any) -> float:
        """Return the number in a genome that :meth:`chosen` decodes to ``value``. Raises :class:`GeneError`."""
        if (place := self.place(value)) is not None:
            return float(place)
        if not self.levels and _is_finite(value) and (not self.exponent or value > 0):
            number = math.log10(value) if self.exponent else float(value)
            if math.isclose(self.nearest(number), number, rel_tol=1e-12, abs_tol=1e-12):
                return self.nearest(number)
        if self.levels:
            few = len(self.levels) < 9
            named = [*map(cut_repr, self.levels if few else self.levels[:3])]
            expected = f"one of {', '.join(named if few else [*named, '...', cut_repr(self.levels[-1])])}"
        else:
            expected = f"a number from {self.chosen(self.low):g} to {self.chosen(self.up):g}"
        got = "no value" if value is None else cut_repr(value)
        raise GeneError(f"gene '{self.name}': expected {expected}, got {got}")

    def random(self) -> float:
        """A value drawn evenly from all, from the global :mod:`random`."""
        return float(random.randrange(len(self.levels))) if self.levels else random.uniform(self.low, self.up)

    def nearest(self, value: float) -> float:
        """The nearest value of this gene; half way between two levels, the lower one."""
        inside = min(max(value, self.low), self.up)
        return float(-((0.5 - inside) // 1)) + 0.0 if self.levels else inside  # + 0.0: never -0.0


def _is_finite(value: Any) -> bool:
    """Return whether ``value`` is a number that a float can hold."""
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:
        return False


def _power(exponent: float) -> float:
    """Return the number with the fewest digits whose logarithm to base 10 is ``exponent``."""
    power = 10.0**exponent
    rounded = (float(f"{power:.{digits}g}") for digits in range(1, 17))
    return next((number for number in rounded if number and math.log10(number) == exponent), power)
