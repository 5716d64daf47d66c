"""Individuals, and the requests that algorithms yield: for scores, and for the end of a generation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deap import base

# classes of this module: deap.creator's would be other classes in each process that unpickles them


class Fitness(base.Fitness):
    """A DEAP fitness with weights (negative to minimise, positive to maximise) and a constraint violation.

    The smaller violation is better, whatever the values (Deb, "An efficient constraint handling method for genetic
    algorithms", Computer Methods in Applied Mechanics and Engineering 186, 2000).
    """

    weights: Sequence[float] = (-1.0,)

    def __init__(self, weights: Sequence[float] = (-1.0,)) -> None:
        self.weights = tuple(weights)
        self.violation = 0.0

    def assign(self, values: Sequence[float], violation: float) -> None:
        """Set the score; one that is not finite, of a failure, violates more than any other."""
        self.setValues(values)
        self.violation = violation if all(map(math.isfinite, values)) else math.inf

    @property
    def order(self) -> tuple[float, ...]:
        """The key that sorts by fitness, worst first."""
        return (-self.violation, *self.wvalues)

    def dominates(self, other: Fitness, obj: slice = slice(None)) -> bool:
        if self.violation != other.violation:
            return self.violation < other.violation
        return bool(super().dominates(other, obj))

    # base.Fitness derives the other comparisons
    def __lt__(self, other: Fitness) -> bool:
        return self.order < other.order

    def __le__(self, other: Fitness) -> bool:
        return self.order <= other.order

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fitness) and self.order == other.order

    __hash__ = base.Fitness.__hash__

    def __deepcopy__(self, memo: dict[int, Any]) -> Fitness:
        copy = Fitness(self.weights)
        copy.wvalues, copy.violation = self.wvalues, self.violation
        return copy


class Individual(list[Any]):
    """A genome with its fitness, its number in the history (``ident``, None until scored) and its parents'.

    >>> from evoprune import Individual
    >>> parent = Individual([0.25, 0.5])
    >>> child = parent.child()
    >>> child[0] = 0.75
    >>> parent.genome, child.fitness.valid
    ((0.25, 0.5), False)
    """

    def __init__(
        self, genes: Iterable[Any] = (), weights: Sequence[float] = (-1.0,), parents: Sequence[int] = ()
    ) -> None:
        super().__init__(genes)
        self.fitness = Fitness(weights)
        self.ident: int | None = None
        self.parents = tuple(parents)

    def child(self, genes: Iterable[Any] | None = None) -> Individual:
        """Return an unscored child with a copy of the genes, or with ``genes``; operators may change it in place."""
        parents = () if self.ident is None else (self.ident,)
        return type(self)(self if genes is None else genes, self.fitness.weights, parents)

    @property
    def genome(self) -> tuple[Any, ...]:
        """The genes as a hashable value."""
        return tuple(self)


@dataclass(frozen=True)
class Evaluate:
    """Ask for the fitness of ``individuals`` on a share ``fidelity``, in (0, 1], of the data.

    Only candidates scored on all data can become the result, and no ``probe``, which may be off the budget.

    >>> from evoprune import Evaluate, Generation, Individual
    >>> def two_guesses(toolbox):
    ...     people = [Individual([0.0]), Individual([1.0])]
    ...     yield Evaluate(people, fidelity=0.5)
    ...     yield Evaluate(people[:1])
    ...     yield Generation(people[:1])
    """

    individuals: Sequence[Individual]
    fidelity: float = 1.0
    probe: bool = False


@dataclass(frozen=True)
class Generation:
    """End a generation, with its scored ``population``.

    ``recommended``: individuals, scored or not, for the final race of a search with noise.

    >>> from evoprune import Generation, Individual
    >>> len(Generation([Individual([0.5])]).population)
    1
    """

    population: Sequence[Individual]
    recommended: Sequence[Individual] = ()


Algorithm = Iterator[Evaluate | Generation]
