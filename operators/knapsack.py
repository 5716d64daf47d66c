"""The best choice of one value for each gene within a budget, if what the choices cost adds up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

from evoprune import Budget
from evoprune.budget import ROUNDING

Floats = NDArray[numpy.float64]

_UNITS, _MARGIN = 2000, 100
"""What may be spent beyond the least, in units that prices are rounded to; as many more are tried, as they may fit."""

_STEPS = 10
"""Real genes are chosen from as many even steps of their range, and its start."""


class Choices:
    """The values that each gene of ``budget`` can be chosen from: its levels, or even steps of its range.

    All values of all genes are numbered, gene by gene; there are ``count``, and ``own`` are those of each gene. What
    genes spend must add up, as in :class:`evoprune.Additive`. Raises ValueError where there is no limit.
    """

    def __init__(self, budget: Budget) -> None:
        self._genes = budget.genes
        self.values = [
            numpy.linspace(gene.low, gene.up, len(gene.levels) or (_STEPS + 1 if gene.free else 1))
            for gene in budget.genes
        ]
        starts = numpy.cumsum([0, *map(len, self.values)])
        self.count = int(starts[-1])
        self.own = [start + numpy.arange(len(values)) for start, values in zip(starts, self.values, strict=False)]
        least = budget.extreme(most=False)
        self._room = -budget.excess(least)
        self._shares = [
            numpy.array([budget.share([*least[:place], value, *least[place + 1 :]]) for value in values])
            - budget.share(least)
            for place, values in enumerate(self.values)
        ]
        unit = max(self._room, ROUNDING) / _UNITS
        self._units = [numpy.rint(shares / unit).clip(0).astype(int) for shares in self._shares]

    def harms(self, origin: Sequence[float]) -> dict[int, Floats]:
        """By a gene's place its levels' harms, the largest as 1, where they are known and that of ``origin`` is 0."""
        return {
            place: numpy.array(gene.harms) / max(gene.harms)
            for place, gene in enumerate(self._genes)
            if gene.harms and gene.harms[round(origin[place])] == 0
        }

    def numbers(self, genome: Sequence[float]) -> list[int]:
        """For each gene, the number of the value that is the nearest to that of ``genome``."""
        rows = zip(self.own, self.values, genome, strict=True)
        return [int(numbers[abs(values - value).argmin()]) for numbers, values, value in rows]

    def value(self, number: int) -> tuple[int, float]:
        """The place of the gene that has the value ``number``, and the value."""
        place = next(place for place, own in enumerate(self.own) if number <= own[-1])
        return place, float(self.values[place][number - self.own[place][0]])

    def best(self, costs: Floats) -> list[float]:
        """The genome within the limit whose ``costs`` ``(count,)`` add up to the least.

        The multiple-choice knapsack, by dynamic programming over what is spent (Kellerer, Pferschy and Pisinger,
        "Knapsack Problems", 2004, section 11.5); exact but for the rounding of prices.
        """
        size = _UNITS + _MARGIN + 1
        totals, chosen = numpy.zeros(size), []
        for units, numbers in zip(self._units, self.own, strict=True):
            options = numpy.full((len(units), size), numpy.inf)
            for row, spent, cost in zip(options, units, costs[numbers], strict=True):
                row[spent:] = totals[: max(0, size - spent)] + cost
            chosen.append(options.argmin(0))
            totals = options.min(0)
        levels: list[int] = []
        for most in range(size - 1, -1, -1):
            levels = self._traced(chosen, most)
            if sum(shares[level] for shares, level in zip(self._shares, levels, strict=True)) <= self._room + ROUNDING:
                break
        return [float(values[level]) for values, level in zip(self.values, levels, strict=True)]

    def _traced(self, chosen: Sequence[NDArray[numpy.int64]], left: int) -> list[int]:
        """The level of each gene that was ``chosen`` where ``left`` units may be spent."""
        levels = []
        for pick, units in zip(reversed(chosen), reversed(self._units), strict=True):
            levels.append(int(pick[left]))
            left -= units[levels[-1]]
        return levels[::-1]
