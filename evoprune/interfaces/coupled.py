"""Budgets with joint costs of genes: the bytes of a type depend on the size of the matrix, which cuts reduce."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy
from numpy.typing import NDArray

from evoprune.interfaces.budget import Budget
from evoprune.interfaces.genes import Genes


@dataclass(frozen=True, eq=False)
class Term:
    """Joint cost of some genes with levels. ``table``: float64, an axis for each of ``genes``, by its levels.

    >>> import numpy
    >>> from evoprune import Term
    >>> Term((0, 2), numpy.array([[8.0, 4.0], [6.0, 3.0]])).table.shape
    (2, 2)
    """

    genes: tuple[int, ...]
    table: NDArray[numpy.float64]


class Coupled(Budget):
    """The sum of ``terms``, plus ``rest(levels)`` of the first ``decide`` genes; linear between levels.

    Both are monotone in each gene. ``rest`` varies little: planners may assume a constant. Raises ValueError unless
    each table has an entry for each level of the genes.

    >>> import numpy
    >>> from evoprune import Coupled, Gene, Genes, Term
    >>> genes = Genes([Gene.of_levels("channels", [64, 32]), Gene.of_levels("bits", [8, 4])])
    >>> Coupled(genes, [Term((0, 1), numpy.array([[64.0, 32.0], [32.0, 16.0]]))], 40.0).spent([1, 0])
    32.0
    """

    def __init__(
        self, genes: Genes, terms: Sequence[Term], limit: float | None, unit: str = "units",
        rest: Callable[[tuple[int, ...]], float] = lambda _: 0.0, decide: int = 0,
    ) -> None:  # fmt: skip
        for term in terms:
            if not all(0 <= place < len(genes) for place in term.genes):
                raise ValueError(f"expected places of {len(genes)} genes, got {term.genes}")
            shape = numpy.shape(term.table)
            if shape != tuple(len(genes[place].levels) for place in term.genes):
                names = ", ".join(genes[place].name for place in term.genes)
                raise ValueError(f"expected an entry for each level of {names}, got the shape {shape}")
        self.terms = list(terms)
        self._tables = [(term.genes, numpy.asarray(term.table).tolist()) for term in terms]
        self.rest, self.decide = rest, decide
        self._tables_of = [[entry for entry in self._tables if place in entry[0]] for place in range(len(genes))]
        super().__init__(genes, limit, unit)

    def spent(self, genome: Sequence[float]) -> float:
        joint = math.fsum(_value(table, [genome[at] for at in places]) for places, table in self._tables)
        return joint + self._rest(genome)

    def price(self, genome: Sequence[float], gene: int, step: float = 1.0) -> float:
        raised = list(genome)
        raised[gene] += step
        after, before = (
            [_value(table, [genes[at] for at in places]) for places, table in self._tables_of[gene]]
            for genes in (raised, genome)
        )
        changed = math.fsum([*after, *(-value for value in before)])
        return changed + (self._rest(raised) - self._rest(genome) if gene < self.decide else 0.0)

    def _rest(self, genome: Sequence[float]) -> float:
        values = [min(max(genome[at], 0.0), self.genes[at].up) for at in range(self.decide)]
        low = self.rest(tuple(map(math.floor, values)))
        between = [value % 1 for value in values if value % 1]
        if not between:
            return low
        return low + fmean(between) * (self.rest(tuple(map(math.ceil, values))) - low)


def _value(table: Any, at: Sequence[float]) -> float:
    """The entry of nested lists; between levels, on straight lines along each axis."""
    if not at:
        return table  # type: ignore[no-any-return]
    value = min(max(at[0], 0.0), len(table) - 1.0)
    below = int(value)
    low = _value(table[below], at[1:])
    return low + (value - below) * (_value(table[below + 1], at[1:]) - low) if value > below else low
