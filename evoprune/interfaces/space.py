"""Interface of spaces: the genomes that a problem allows, as vectors, orders, sequences and trees."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

from evoprune.console.errors import InputError, cut_repr
from evoprune.interfaces.algorithm import Individual

Genome = Sequence[Any]
"""A tuple of numbers, texts, and such tuples, so that it is hashable, and JSON has it as a list."""

Operator = Callable[..., Any]


class SpaceError(InputError, ValueError):
    """An impossible space, or a genome that it lacks."""


class Space(ABC):
    """Genomes of one form: how they are drawn, checked, bred and read.

    A subclass needs :attr:`name`, :meth:`random` and :meth:`check`; see :mod:`evoprune.spaces`. Its constructor takes
    the :attr:`settings`, values that JSON has, so that experiments can name it: ``{use: NAME, ...}``.

    >>> import random
    >>> from evoprune import Space
    >>> class Coins(Space):
    ...     name = "coins"
    ...     random = lambda self: (random.randrange(2), random.randrange(2))
    ...     def check(self, genome):
    ...         if not (len(genome) == 2 and {*genome} <= {0, 1}):
    ...             raise ValueError(f"expected two of 0 and 1, got {genome}")
    >>> Coins().allow((0, 1)), Coins().allow((0, 2))
    (True, False)
    """

    name: ClassVar[str]
    """Its name among entry points: it is in ``evoprune.spaces``, its operators in ``evoprune.operators.NAME``."""

    @abstractmethod
    def random(self) -> Genome:
        """Draw a genome from the global :mod:`random`."""

    @abstractmethod
    def check(self, genome: Genome) -> None:
        """Raise :class:`ValueError` unless the space has ``genome``, which may come from any file."""

    def allow(self, genome: Genome) -> bool:
        """Return whether the space has ``genome``."""
        try:
            self.check(genome)
        except ValueError:
            return False
        return True

    @property
    def size(self) -> float:
        """Number of different genomes."""
        return math.inf

    @property
    def settings(self) -> Mapping[str, Any]:
        """Arguments of the constructor."""
        return {}

    @property
    def supplied(self) -> Mapping[str, Any]:
        """Parameters that the engine supplies to operators, by name, in addition to the space itself as ``space``."""
        return {}

    def chosen(self, genome: Genome) -> Any:
        """Decode ``genome`` to the value that functions get and people see."""
        return list(genome)

    def encoded(self, value: Any) -> Genome:
        """Return the genome that :meth:`chosen` decodes to ``value``. Raises :class:`ValueError`."""
        return self.from_json(value)

    def to_json(self, value: Any) -> Any:
        """Return ``value``, of :meth:`chosen`, as experiments store it, which :meth:`encoded` takes, too."""
        return value

    def key(self, value: Any) -> Hashable:
        """Return a key of ``value``, one of :meth:`chosen`."""
        return tuple(self.encoded(value))

    def from_json(self, value: Any) -> Genome:
        """Return the genome that JSON has as ``value``. Raises :class:`ValueError` if the space lacks it."""
        if not isinstance(value, list | tuple):
            raise SpaceError(f"expected a list, got {cut_repr(value)}")
        genome = frozen(value)
        self.check(genome)
        return genome

    def individual(self, genome: Genome, signs: Sequence[float] = (-1.0,)) -> Individual:
        """Return ``genome`` as operators breed it."""
        return Individual(genome, signs)

    def adapted(self, slot: str, operator: Operator | None) -> Operator:  # noqa: ARG002 - a default
        """Return ``operator``, of ``slot``, so that it breeds this space; of ``repair`` there may be none."""
        return operator or _unchanged

    def called(self, function: Callable[..., Any]) -> Callable[[Any], Any]:
        """Return ``function`` as a function of a value of :meth:`chosen`."""
        return function

    def shown(self, genome: Genome) -> Mapping[str, Any]:
        """Return the parts of ``genome`` for people, by name."""
        return {self.name: self.chosen(genome)}

    def describe(self) -> str:
        """Describe the space in a few words."""
        return f"a {self.name}"


def _unchanged(individual: Individual) -> tuple[Individual]:
    return (individual,)


def frozen(value: Sequence[Any]) -> tuple[Any, ...]:
    """Return lists of JSON, at any depth, as tuples."""
    return tuple([frozen(each) if isinstance(each, list | tuple) else each for each in value])
