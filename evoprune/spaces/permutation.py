"""Orders of items."""

import math
import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from evoprune.console.errors import as_tuple, cut_repr
from evoprune.interfaces.space import Genome, SpaceError
from evoprune.spaces.items import Items


class Permutation(Items):
    """The orders of ``items``, at least two different texts or numbers; of a number, of 0 to the number less 1.

    A genome has the places of the items, as whole numbers.

    >>> from evoprune import Permutation
    >>> Permutation(["a", "b", "c"]).chosen((2, 0, 1))
    ['c', 'a', 'b']
    """

    name = "permutation"

    def __init__(self, items: int | Sequence[Any]) -> None:
        whole = as_tuple(range(items) if isinstance(items, int) else items, "items")
        if not all(isinstance(item, str | int | float) for item in whole):
            raise SpaceError(f"items: expected texts and numbers, got {cut_repr(whole)}")
        super().__init__(whole, "items")

    @cached_property
    def _sorted(self) -> list[int]:
        return [*range(len(self.items))]

    @property
    def settings(self) -> Mapping[str, Any]:
        count = len(self.items)
        return {"items": count if self.items == tuple(range(count)) else [*self.items]}

    def random(self) -> Genome:
        return tuple(random.sample(range(len(self.items)), len(self.items)))

    def check(self, genome: Genome) -> None:
        if {*map(type, genome)} != {int} or sorted(genome) != self._sorted:
            raise SpaceError(f"expected each of {len(self.items)} items once, got {cut_repr(genome)}")

    @property
    def size(self) -> float:
        return math.inf if len(self.items) > 170 else math.factorial(len(self.items))

    def describe(self) -> str:
        return f"orders of {len(self.items)} items"
