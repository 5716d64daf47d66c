"""Budgets in which what a gene spends depends on others: a type costs a matrix fewer bytes that a cut made smaller."""

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
    """Joint cost of some genes with levels. ``table``: float64, an axis for each of ``genes``, by its levels."""

    genes: tuple[int, ...]
    table: NDArray[numpy.float64]


class Coupled(Budget):
    """The sum of ``terms``, plus ``beside(levels)`` of the first ``decide`` genes; linear between levels.

    Both rise or fall throughout with each gene. ``beside`` varies little: planners may take it for constant.
    """

    def __init__(
        self,
        genes: Genes,
        terms: Sequence[Term],
        limit: float | None,
        unit: str = "units",
        beside: Callable[[tuple[int, ...]], float] = lambda _: 0.0,
        decide: int = 0,
    ) -> None:
        """Raise ValueError unless each table has an entry for each level of its genes."""
        for term in terms:
            if term.table.shape != tuple(len(genes[place].levels) for place in term.genes):
                names = ", ".join(genes[place].name for place in term.genes)
                raise ValueError(f"expected an entry for each level of {names}, got the shape {term.table.shape}")
        self.terms = list(terms)
        self._tables = [(term.genes, term.table.tolist()) for term in terms]
        self.beside, self.decide = beside, decide
        self._of = [[own for own in self._tables if place in own[0]] for place in range(len(genes))]
        super().__init__(genes, limit, unit)

    def spent(self, genome: Sequence[float]) -> float:
        return math.fsum(_value(table, [genome[at] for at in own]) for own, table in self._tables) + self._rest(genome)

    def price(self, genome: Sequence[float], gene: int, step: float = 1.0) -> float:
        raised = list(genome)
        raised[gene] += step
        both = [[_value(table, [each[at] for at in own]) for own, table in self._of[gene]] for each in (raised, genome)]
        changed = math.fsum([*both[0], *(-value for value in both[1])])
        return changed + (self._rest(raised) - self._rest(genome) if gene < self.decide else 0.0)

    def _rest(self, genome: Sequence[float]) -> float:
        held = [min(max(genome[at], 0.0), self.genes[at].up) for at in range(self.decide)]
        low = self.beside(tuple(map(math.floor, held)))
        between = [value % 1 for value in held if value % 1]
        if not between:
            return low
        return low + fmean(between) * (self.beside(tuple(map(math.ceil, held))) - low)


def _value(table: Any, at: Sequence[float]) -> float:
    """The entry of nested lists; between levels, on straight lines along each axis."""
    if not at:
        return table  # type: ignore[no-any-return]
    value = min(max(at[0], 0.0), len(table) - 1.0)
    below = int(value)
    low = _value(table[below], at[1:])
    return low + (value - below) * (_value(table[below + 1], at[1:]) - low) if value > below else low
