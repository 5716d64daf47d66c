"""Budgets: the cost of a genome, which grows or falls with each gene, and its limit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property

from evoprune.console.formatting import digits
from evoprune.interfaces.genes import Gene, Genes

Price = float | Sequence[float]
"""Cost of a gene: of each 1 of a real gene; of a gene with levels a table, an entry a level."""

ROUNDING = 1e-13
"""Excess that counts as none: far less than a weight of the largest models, more than rounding errors of sums."""

_EDGE = 1e-12  # a limit as little as this beyond the least or the most counts as reached


class Budget(ABC):
    """Cost of genomes of ``genes``, in ``unit``, a plural such as ``bytes``. ``limit``: the most; None for no limit.

    >>> from evoprune import Budget, Genes
    >>> class Area(Budget):
    ...     def spent(self, genome):
    ...         return genome[0] * genome[1]
    >>> Area(Genes.real(["width", "height"], 1.0, 4.0), 8.0, "metres").within([2.0, 4.0])
    True
    """

    def __init__(self, genes: Genes, limit: float | None, unit: str) -> None:
        self.genes, self.limit, self.unit = genes, limit, unit

    @abstractmethod
    def spent(self, genome: Sequence[float]) -> float:
        """Cost of ``genome``, monotone in each gene, between levels too."""

    def price(self, genome: Sequence[float], gene: int, step: float = 1.0) -> float:
        """Additional cost if ``gene`` is raised by ``step``; negative where that saves."""
        raised = list(genome)
        raised[gene] += step
        return self.spent(raised) - self.spent(genome)

    def excess(self, genome: Sequence[float]) -> float:
        """Excess over the limit (negative below it), as a share of :attr:`scale`. Raises ValueError without limit."""
        return (self.spent(genome) - _needed(self.limit)) / self.scale

    def share(self, genome: Sequence[float]) -> float:
        """Cost of ``genome`` on the scale of :meth:`excess`; only differences are meaningful."""
        return self.spent(genome) / self.scale

    def kept(self, genome: Sequence[float]) -> bool:
        """Return whether ``genome`` meets the limit exactly, up to rounding."""
        return abs(self.excess(genome)) <= ROUNDING

    def within(self, genome: Sequence[float]) -> bool:
        """Return whether ``genome`` is within the limit, up to rounding."""
        return self.excess(genome) <= ROUNDING

    def saves(self, gene: int) -> bool:
        return self._across(gene) < 0

    @cached_property
    def span_costs(self) -> list[float]:
        """Cost of one :attr:`evoprune.Gene.span` of each gene, at least 0; the other genes are mid-range."""
        return [
            abs(self._across(place)) / ((gene.up - gene.low) / gene.span) if gene.free else 0.0
            for place, gene in enumerate(self.genes)
        ]

    @cached_property
    def directions(self) -> list[float]:
        """Change of each gene that saves its span's cost: plus or minus the span."""
        return [
            (-1.0 if cost and not self.saves(place) else 1.0) * gene.span
            for place, (gene, cost) in enumerate(zip(self.genes, self.span_costs, strict=True))
        ]

    @cached_property
    def free(self) -> list[int]:
        """Places of the free genes that change the cost."""
        return [gene for gene in self.genes.free if self.span_costs[gene] > 0]

    def extreme(self, most: bool) -> list[float]:
        return [
            gene.low if (way >= 0) == most else gene.up for gene, way in zip(self.genes, self.directions, strict=True)
        ]

    @cached_property
    def least(self) -> float:
        return self.spent(self.extreme(most=False))

    @cached_property
    def most(self) -> float:
        return self.spent(self.extreme(most=True))

    def check_reachable(self) -> None:
        """Raise ValueError unless some genome meets the limit."""
        least, most = self._ends
        if not (least <= _EDGE and most >= -_EDGE):  # so that no limit of nan passes
            raise ValueError(
                f"a limit of {digits(self.limit, 6)} {self.unit} is out of reach: the least that can be spent is "
                f"{digits(self.least, 6)}, the most {digits(self.most, 6)}"
            )

    @cached_property
    def scale(self) -> float:
        """Unit of excesses and shares: all that genes can change."""
        return self.most - self.least or 1.0

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return self.excess(self.extreme(most=False)), self.excess(self.extreme(most=True))

    def _across(self, gene: int) -> float:
        """Change from the lower bound of ``gene`` to its upper one, the others in the middle of their ranges."""
        genome = [(other.low + other.up) / 2 for other in self.genes]
        genome[gene] = self.genes[gene].low
        return self.price(genome, gene, self.genes[gene].up - self.genes[gene].low)


class Additive(Budget):
    """Sum of the costs of single genes, and of ``fixed``: linear between levels.

    ``prices``: see :data:`Price`. ``share``: the limit, see :meth:`at_share`. Raises ValueError unless there is
    a price for each gene and level; with a limit, prices of levels must rise or fall throughout.

    >>> from evoprune import Additive, Gene, Genes
    >>> genes = Genes([Gene("sparsity"), Gene.of_levels("type", ["Q4_0", "Q8_0"])])
    >>> budget = Additive(genes, [-100.0, [45.0, 85.0]], limit=130.0, unit="bytes", fixed=100.0)
    >>> budget.spent([0.5, 1.0])
    135.0
    """

    def __init__(
        self, genes: Genes, prices: Sequence[Price], limit: float | None, unit: str = "units", fixed: float = 0.0,
        share: float | None = None,
    ) -> None:  # fmt: skip
        if len(prices) != len(genes):
            raise ValueError(f"expected a price for each of {len(genes)} genes, got {len(prices)}")
        for gene, price in zip(genes, prices, strict=True):
            if isinstance(price, Sequence):
                _check(gene, price, limited=limit is not None)
        self._prices, self._fixed = list(prices), fixed
        self.scale = _scale(genes, prices) or 1.0
        """The sum of the absolute prices of spans; of a table, the difference between its ends."""
        self._share = (limit - fixed) / self.scale if share is None and limit is not None else share
        super().__init__(genes, limit, unit)

    @classmethod
    def at_share(
        cls, genes: Genes, prices: Sequence[Price], share: float | None, unit: str = "units", fixed: float = 0.0
    ) -> Additive:
        """A budget whose limit is ``fixed`` plus a ``share``, in [-1, 1], of :attr:`scale`.

        For real genes of span 1 with prices below 0, ``-share`` is the mean that genes must have, each counted by its
        price: exactly, where a limit in large units would be rounded.
        """
        limit = None if share is None else fixed + share * _scale(genes, prices)
        return cls(genes, prices, limit, unit, fixed, share)

    def spent(self, genome: Sequence[float]) -> float:
        return self._fixed + math.fsum(map(_spent, self._prices, genome))

    def price(self, genome: Sequence[float], gene: int, step: float = 1.0) -> float:
        price = self._prices[gene]
        if isinstance(price, Sequence):
            return _spent(price, genome[gene] + step) - _spent(price, genome[gene])
        return price * step

    def excess(self, genome: Sequence[float]) -> float:
        return self.share(genome) - _needed(self._share)

    def share(self, genome: Sequence[float]) -> float:
        return math.fsum(map(_spent, self._prices, genome)) / self.scale

    def saves(self, gene: int) -> bool:
        price = self._prices[gene]
        return price[-1] < price[0] if isinstance(price, Sequence) else price < 0

    @cached_property
    def span_costs(self) -> list[float]:
        return [*map(_reach, self.genes, self._prices)]


def _needed(limit: float | None) -> float:
    if limit is None:
        raise ValueError("the problem has no limit to keep; leave operators.repair out")
    return limit


def _check(gene: Gene, table: Sequence[float], limited: bool) -> None:
    if not gene.levels:
        raise ValueError(f"gene '{gene.name}': expected a number, as it has no levels, got {len(table)} prices")
    if len(table) != len(gene.levels):
        raise ValueError(f"gene '{gene.name}': expected {len(gene.levels)} prices, one a level, got {len(table)}")
    if limited and list(table) not in (sorted(table), sorted(table, reverse=True)):
        raise ValueError(f"gene '{gene.name}': expected prices of levels that rise or fall throughout")


def _spent(price: Price, value: float) -> float:
    if not isinstance(price, Sequence):
        return price * value
    value = min(max(value, 0.0), len(price) - 1.0)
    below = int(value)
    rest = value - below
    return price[below] + rest * (price[below + 1] - price[below]) if rest else price[below]


def _reach(gene: Gene, price: Price) -> float:
    """The cost of the span of ``gene``."""
    return max(price) - min(price) if isinstance(price, Sequence) else abs(price) * gene.span


def _scale(genes: Genes, prices: Sequence[Price]) -> float:
    return math.fsum(map(_reach, genes, prices))


def solve(rising: Callable[[float], float], target: float, low: float, up: float) -> float:
    """Return the least number in [low, up] where the non-decreasing ``rising`` reaches ``target``, else ``up``."""
    for _ in range(200):  # exhausts a double's precision
        middle = (low + up) / 2
        if middle in (low, up):
            break
        if rising(middle) < target:
            low = middle
        else:
            up = middle
    return up
