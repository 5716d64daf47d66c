"""Genes that are spent together, as a tree: once the genes above are chosen, branches are independent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

Units = NDArray[numpy.int64]

Table = tuple[tuple[int, ...], Units]
"""Some genes, by their places, and what they spend together: an axis for each, by its values."""


@dataclass(frozen=True)
class Branch:
    """A gene, and what is below it. ``tables``: those of this gene and of genes above it alone."""

    place: int
    tables: Sequence[Table]
    below: Sequence[Branch]

    def spent(self, chosen: dict[int, int]) -> int:
        """What the tables say of the values ``chosen``, by place, of this gene and of those above."""
        return sum(int(table[tuple(chosen[place] for place in genes)]) for genes, table in self.tables)


def grown(places: Collection[int], tables: Sequence[Table], above: frozenset[int] = frozenset()) -> list[Branch]:
    """A tree for each set of ``places`` that ``tables`` connect, given the genes ``above``.

    A pseudo-tree (Freuder and Quinn, "Taking advantage of stable sets of variables in constraint satisfaction
    problems", 1985): the gene that is connected with the most others comes first, so that trees are flat.
    """
    near: dict[int, set[int]] = {place: set() for place in places}
    for genes, _ in tables:
        inside = [place for place in genes if place in near]
        for place in inside:
            near[place].update(inside)
    branches, seen = [], set()
    for start in places:
        if start in seen:
            continue
        connected, new = {start}, [start]
        while new:
            found = near[new.pop()] - connected
            connected |= found
            new += found
        seen |= connected
        first = max(sorted(connected), key=lambda place: len(near[place]))
        known = above | {first}
        own = [table for table in tables if first in table[0] and known.issuperset(table[0])]
        rest = [table for table in tables if not known.issuperset(table[0])]
        branches.append(Branch(first, own, grown(sorted(connected - {first}), rest, known)))
    return branches
