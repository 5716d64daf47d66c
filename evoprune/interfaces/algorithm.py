"""Algorithms: generators that ask for scores and say when a generation is complete; and their individuals.

The engine answers each :class:`Evaluate` by setting the individuals' fitness before it resumes
the generator. An algorithm does not deal with workers, histories or stopping.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from deap import base

# Ordinary module-level classes, not ones made by deap.creator: those pickle into new classes in every process.


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


@dataclass(frozen=True)
class Evaluate:
    """Ask for the fitness of ``individuals`` on a share ``fidelity``, in (0, 1], of the data.

    A problem that knows no fidelities scores on all of it. Only what was scored on all can
    become the result of a run, and no ``probe``: what measures something, and may lie off the budget.
    """

    individuals: Sequence[Individual]
    fidelity: float = 1.0
    probe: bool = False


@dataclass(frozen=True)
class Generation:
    """Say that a generation is complete, with the scored ``population`` that it ends with."""

    population: Sequence[Individual]


Algorithm = Iterator[Evaluate | Generation]
