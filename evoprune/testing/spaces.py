"""The laws of genes and of budgets."""

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise

from evoprune.interfaces.budget import Budget
from evoprune.interfaces.genes import Genes

TRIALS = 30
CLOSE = 1e-9


class Monotone(Budget):
    """A budget by a function of the genome that is monotone in each gene."""

    def __init__(
        self, genes: Genes, spent: Callable[[Sequence[float]], float], limit: float | None, unit: str = "units"
    ) -> None:
        super().__init__(genes, limit, unit)
        self._spent = spent

    def spent(self, genome: Sequence[float]) -> float:
        return self._spent(genome)


def require(holds: bool, law: str) -> None:
    """Raise AssertionError, saying which ``law`` is broken, unless it ``holds``."""
    if not holds:
        raise AssertionError(law)


def close(first: float, second: float, scale: float) -> bool:
    """Return whether two numbers are equal but for rounding, of numbers as large as ``scale``."""
    return abs(first - second) <= CLOSE * (abs(scale) or 1.0)


def check_genes(genes: Genes) -> None:
    """Check that random genomes are allowed, and that the nearest genome to any is, and is itself nearest to it."""
    rng = random.Random(0)
    for _ in range(TRIALS):
        genome = genes.random()
        require(genes.allow(genome), f"genes.random() gave a genome that genes.allow refuses: {genome}")
        far = [value + rng.uniform(-2, 2) * (gene.up - gene.low + 1) for gene, value in zip(genes, genome, strict=True)]
        near = genes.nearest(far)
        require(genes.allow(near), f"genes.nearest({far}) is not allowed: {near}")
        require(genes.nearest(genome) == genome, f"genes.nearest changes an allowed genome: {genome}")
        for gene, value, chosen in zip(genes, near, genes.chosen(near), strict=True):
            expected = gene.levels[round(value)] if gene.levels else value
            require(chosen == expected, f"gene '{gene.name}' at {value} stands for {expected}, not {chosen}")
    require(not genes.allow(genes.low[1:]), "genes.allow accepts a genome without a value for each gene")
    require(not genes.allow([math.nan] * len(genes)), "genes.allow accepts nan")


def check_budget(budget: Budget) -> None:
    """Check that the cost rises or falls with each gene, and that all members agree with it."""
    genes, scale = budget.genes, max(abs(budget.least), abs(budget.most))
    for _ in range(TRIALS):
        genome = genes.random()
        spent = budget.spent(genome)
        require(math.isfinite(spent), f"{genome} spends {spent}")
        inside = budget.least - CLOSE * scale <= spent <= budget.most + CLOSE * scale
        require(inside, f"{genome} spends {spent}, beyond least {budget.least} or most {budget.most}")
        for place in genes.free:
            _check_gene(budget, genome, place, scale)
    require(close(budget.spent(budget.extreme(most=True)), budget.most, scale), "extreme(most=True) is not the most")
    require(
        close(budget.spent(budget.extreme(most=False)), budget.least, scale), "extreme(most=False) is not the least"
    )
    _check_limit(budget)


def _check_gene(budget: Budget, genome: list[float], place: int, scale: float) -> None:
    gene = budget.genes[place]
    steps = len(gene.levels) - 1 if gene.levels else 8
    values = [gene.low + (gene.up - gene.low) * step / (2 * steps) for step in range(2 * steps + 1)]
    spent = []
    for value in values:
        moved = list(genome)
        moved[place] = value
        spent.append(budget.spent(moved))
        price = budget.price(genome, place, value - genome[place])
        difference = spent[-1] - budget.spent(genome)
        require(
            close(price, difference, scale), f"gene '{gene.name}': a price of {price}, a difference of {difference}"
        )
    way = -1.0 if budget.saves(place) else 1.0
    rises = all(way * (b - a) >= -CLOSE * (scale or 1.0) for a, b in pairwise(spent))
    said = "saves" if way < 0 else "spends"
    require(rises, f"gene '{gene.name}': raising it {said}, as budget.saves says, but not throughout: {spent}")


def _check_limit(budget: Budget) -> None:
    genome = budget.genes.random()
    if budget.limit is not None:
        above = budget.spent(genome) - budget.limit
        span = max(abs(budget.most - budget.least), abs(budget.limit)) * CLOSE
        require(abs(above) <= span or (above > 0) == (budget.excess(genome) > 0), "excess and limit do not agree")
        return
    try:
        budget.excess(genome)
    except ValueError:
        return
    raise AssertionError("a budget without a limit must raise ValueError when asked for the excess")
