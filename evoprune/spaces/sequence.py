"""Sequences of variable length."""

import random
from collections import abc
from functools import partial
from typing import Any

from evoprune.console.errors import as_tuple, cut_repr
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.space import Genome, Operator, SpaceError, frozen
from evoprune.spaces.items import Items


class Sequence(Items):
    """Lists of ``levels``, each any number of times, with ``shortest`` to ``longest`` elements, at least one.

    A genome has the places of the levels, as whole numbers. ``levels``: at least two, different; texts, numbers, or
    tuples of them. A longer child of an operator is cut, and a shorter one grows by its parent's last elements.

    >>> from evoprune import Sequence
    >>> Sequence(["left", "right"], 1, 3).chosen((1, 0))
    ['right', 'left']
    """

    name = "sequence"

    def __init__(self, levels: abc.Sequence[Any], shortest: int, longest: int) -> None:
        super().__init__(frozen(as_tuple(levels, "levels")), "levels")
        self.shortest, self.longest = shortest, longest
        if not 1 <= shortest <= longest:
            raise SpaceError(f"expected 1 <= shortest <= longest, got {shortest} and {longest}")

    @property
    def settings(self) -> abc.Mapping[str, Any]:
        return {"levels": [*self.items], "shortest": self.shortest, "longest": self.longest}

    @property
    def supplied(self) -> abc.Mapping[str, Any]:
        return {"low": 0, "up": len(self.items) - 1}

    def random(self) -> Genome:
        length = random.randint(self.shortest, self.longest)
        return tuple(random.randrange(len(self.items)) for _ in range(length))

    def check(self, genome: Genome) -> None:
        if not self.shortest <= len(genome) <= self.longest:
            raise SpaceError(f"expected {self.shortest} to {self.longest} elements, got {len(genome)}")
        if {*map(type, genome)} != {int} or min(genome) < 0 or max(genome) >= len(self.items):
            raise SpaceError(f"expected whole numbers from 0 to {len(self.items) - 1}, got {cut_repr(genome)}")

    @property
    def size(self) -> float:
        try:
            return float(sum(len(self.items) ** length for length in range(self.shortest, self.longest + 1)))
        except OverflowError:
            return float("inf")

    def adapted(self, slot: str, operator: Operator | None) -> Operator:
        if slot == "repair" or operator is None:
            return super().adapted(slot, operator)
        return partial(self._within, operator)

    def _within(self, operator: Operator, *parents: Individual) -> tuple[Individual, ...]:
        before = [list(parent) for parent in parents]
        children = tuple(operator(*parents))
        for child, parent in zip(children, before, strict=True):
            child[self.longest :] = []
            missing = self.shortest - len(child)
            child.extend(parent[-missing:] if missing > 0 else ())
        return children

    def describe(self) -> str:
        return f"sequences of {self.shortest} to {self.longest} of {len(self.items)} levels"
