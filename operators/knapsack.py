"""The multiple-choice knapsack: one value for each gene, within a budget, with the least sum of costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from evoprune import Budget, Coupled
from evoprune.plugins import ROUNDING

Floats = NDArray[numpy.float64]
Units = NDArray[numpy.int64]

Table = tuple[tuple[int, ...], Units]
"""Places of some genes, and the units of their joint cost: an axis for each gene, by its values."""

Trace = Callable[[int, dict[int, int]], int]
"""From the available units: writes the chosen values by place, and returns the remaining units."""

_UNITS = 2000  # the limit minus the least spending; prices are rounded to units
_MARGIN = 100  # units above the limit that are tried, too, as unrounded prices may fit
_STEPS = 10  # intervals of the values of a real gene


class Choices:
    """Values of each gene of ``budget``: all levels, or evenly spaced values of a range.

    All ``count`` values are numbered, gene by gene. ``by_gene``: numbers of the values of each gene. ``budget``: an
    :class:`evoprune.Additive` or a :class:`evoprune.Coupled` with a limit.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget, self._genes = budget, budget.genes
        self.values = [
            numpy.linspace(gene.low, gene.up, len(gene.levels) or (_STEPS + 1 if gene.free else 1))
            for gene in budget.genes
        ]
        sizes = [*map(len, self.values)]
        self._places = numpy.repeat(numpy.arange(len(sizes)), sizes)  # of the genes of all values
        self.count = len(self._places)
        self.by_gene = numpy.split(numpy.arange(self.count), numpy.cumsum(sizes)[:-1])
        self.kinds = [budget.genes[place].kind for place in self._places]
        """The kind of the gene of each value."""
        rows = zip(budget.genes, sizes, strict=True)
        self.levels = [level for gene, size in rows for level in (gene.levels if gene.absolute else [None] * size)]
        """The level of each value, for genes with absolute losses, whose estimates have common errors; else None."""
        unit = max(-budget.excess(budget.extreme(most=False)), ROUNDING) / _UNITS
        tables = [(genes, numpy.rint(shares / unit).clip(0).astype(int)) for genes, shares in self._shares()]
        several = [place for place, values in enumerate(self.values) if len(values) > 1]
        self._trees = gene_trees(several, [_without(genes, table, several) for genes, table in tables])

    def level_losses(self, origin: Sequence[float], absolute: bool) -> dict[int, dict[int, float]]:
        """Return known losses by gene and number of the value, for genes without loss in ``origin``.

        ``absolute``: of genes with absolute level_losses; else of the others, as shares of the largest.
        """
        by_gene = {}
        for place, (numbers, gene) in enumerate(zip(self.by_gene, self._genes, strict=True)):
            if gene.level_losses and gene.absolute == absolute and gene.level_losses[round(origin[place])] == 0:
                rows = zip(numbers.tolist(), gene.level_losses, strict=True)
                level_losses = {number: level_loss for number, level_loss in rows if level_loss is not None}
                unit = 1.0 if absolute else max(level_losses.values())
                by_gene[place] = {number: level_loss / unit for number, level_loss in level_losses.items()}
        return by_gene

    def losses_known(self, origin: Sequence[float]) -> bool:
        """Return whether all genes have absolute level_losses, relative to ``origin``, or one value."""
        genes = self.level_losses(origin, absolute=True)
        return all(len(values) == 1 or place in genes for place, values in enumerate(self.values))

    def numbers(self, genome: Sequence[float]) -> list[int]:
        rows = zip(self.by_gene, self.values, genome, strict=True)
        return [int(numbers[abs(values - value).argmin()]) for numbers, values, value in rows]

    def value(self, number: int) -> tuple[int, float]:
        """Return the place of the gene of the value ``number``, and the value."""
        place = int(self._places[number])
        return place, float(self.values[place][number - self.by_gene[place][0]])

    def best(self, costs: Floats) -> list[float]:
        """Return the genome within the limit with the least sum of ``costs``, ``(count,)``."""
        chosen = _solved([costs[numbers] for numbers in self.by_gene], self._trees, _UNITS + _MARGIN)
        genome: list[float] = []
        for most in range(_UNITS + _MARGIN, -1, -1):
            genome = [float(values[level]) for values, level in zip(self.values, chosen(most), strict=True)]
            if self._budget.within(genome):
                break
        return genome

    def _shares(self) -> list[tuple[tuple[int, ...], Floats]]:
        """Return tables of the spending above the least, as shares of the scale, by genes with a joint cost."""
        budget, least = self._budget, self._budget.extreme(most=False)
        if isinstance(budget, Coupled):
            at = [int(value) for value in least]
            return [
                (term.genes, (term.table - term.table[tuple(at[place] for place in term.genes)]) / budget.scale)
                for term in budget.terms
            ]
        return [
            (
                (place,),
                numpy.array([budget.share([*least[:place], value, *least[place + 1 :]]) for value in values])
                - budget.share(least),
            )
            for place, values in enumerate(self.values)
        ]


def cheapest(costs: Sequence[Floats], spent: Sequence[Units], most: int) -> list[int]:
    """Return the value of each gene with the least sum of ``costs``, for at most ``most`` units; exact.

    ``spent``: units of each value, of genes without joint costs. Some values must be within ``most``.
    """
    return _solved(costs, [Branch(place, [((place,), units)], ()) for place, units in enumerate(spent)], most)(most)


def _solved(costs: Sequence[Floats], trees: Sequence[Branch], most: int) -> Callable[[int], list[int]]:
    """Return a function from a number of units, up to ``most``, to the cheapest values.

    By dynamic programming over the spending (Kellerer, Pferschy and Pisinger, "Knapsack Problems", 2004, section 11.5),
    within each value of a gene that others depend on; exact but for the rounding of prices. ``costs``: of the values of
    each gene. Genes that are in no tree keep their first value.
    """
    totals, traces = numpy.zeros(most + 1), []
    for tree in trees:
        totals, trace = _with(tree, totals, costs, {})
        traces.append(trace)

    def chosen(left: int) -> list[int]:
        levels = dict.fromkeys(range(len(costs)), 0)
        for trace in reversed(traces):
            left = trace(left, levels)
        return list(levels.values())

    return chosen


def _with(branch: Branch, totals: Floats, costs: Sequence[Floats], above: Mapping[int, int]) -> tuple[Floats, Trace]:
    """Return the least costs by spent units, with the costs of ``branch``, for the values ``above`` it."""
    own, size = costs[branch.place], len(totals)
    spent = [branch.spent({**above, branch.place: level}) for level in range(len(own))]
    alike = not branch.below and len(set(spent)) == 1  # as of the types of dropped blocks
    levels = [int(own.argmin())] if alike else range(len(own))
    options, below = numpy.full((len(levels), size), numpy.inf), []
    for row, level in zip(options, levels, strict=True):
        traces: list[Trace] = []
        if spent[level] < size:
            row[spent[level] :] = totals[: size - spent[level]] + own[level]
            for child in branch.below:
                row[:], trace = _with(child, row, costs, {**above, branch.place: level})
                traces.append(trace)
        below.append(traces)
    picks = options.argmin(0).astype(numpy.int16)

    def traced(left: int, found: dict[int, int]) -> int:
        pick = int(picks[left])
        found[branch.place] = levels[pick]
        for trace in reversed(below[pick]):
            left = trace(left, found)
        return left - spent[levels[pick]]

    return options[picks, numpy.arange(size)], traced


def _without(genes: Sequence[int], table: Units, several: Collection[int]) -> Table:
    """Return ``table`` without the axes of genes with one value, and the remaining genes."""
    kept = tuple(place for place in genes if place in several)
    return kept, table.reshape([size for place, size in zip(genes, table.shape, strict=True) if place in kept])


@dataclass(frozen=True)
class Branch:
    """A gene and the branches below it. ``tables``: joint costs of this gene and genes above it."""

    place: int
    tables: Sequence[Table]
    below: Sequence[Branch]

    def spent(self, chosen: dict[int, int]) -> int:
        return sum(int(table[tuple(chosen[place] for place in genes)]) for genes, table in self.tables)


def gene_trees(places: Collection[int], tables: Sequence[Table], above: frozenset[int] = frozenset()) -> list[Branch]:
    """Return a shallow tree for each set of ``places`` that ``tables`` connect (Freuder and Quinn, 1985)."""
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
            reached = near[new.pop()] - connected
            connected |= reached
            new += reached
        seen |= connected
        first = max(sorted(connected), key=lambda place: len(near[place]))
        upper = above | {first}
        inside_tables = [table for table in tables if first in table[0] and upper.issuperset(table[0])]
        rest = [table for table in tables if not upper.issuperset(table[0])]
        branches.append(Branch(first, inside_tables, gene_trees(sorted(connected - {first}), rest, upper)))
    return branches
