"""Rounding of genes with levels to levels within the budget."""

from collections.abc import Iterator, Sequence

from evoprune import Budget, Individual
from evoprune.operators.moves import bound, levels_between
from evoprune.plugins import ROUNDING, solve

_NEAR = 1e-9  # tolerance of the estimated room below the limit, as a share of the scale of the budget


def round_to_levels(genome: Individual, budget: Budget) -> None:
    """Move ``genome``, in place, to levels close to it that spend the most within the limit.

    It starts at the nearest levels. Above the limit, levels that save are changed; below it, levels that spend and fit:
    each time the change that ends closest to the given genome. Real genes spend the rest. Afterwards, no single change
    of a level fits.
    """
    target = list(genome)
    genome[:] = budget.genes.nearest(genome)
    while not budget.within(genome):
        saving = next(_steps(genome, target, budget, 1.0), None)
        if saving is None:
            break
        genome[saving[0]] = saving[1]
    if budget.within(genome):
        _fill(genome, target, budget)
    _take_up(genome, budget)
    if budget.excess(genome) < -ROUNDING and not all(gene.levels for gene in budget.genes):
        # Real genes that spend the most can save the price of one more level.
        before = list(genome)
        for gene, value, _ in _steps(genome, target, budget, -1.0):
            genome[gene] = value
            _take_up(genome, budget)
            if budget.kept(genome):
                return
            genome[:] = before


def _fill(genome: Individual, target: Sequence[float], budget: Budget) -> None:
    while True:
        room = _NEAR - budget.excess(genome)
        for gene, value, price in _steps(genome, target, budget, -1.0):
            if price > room * budget.scale:  # much cheaper than the excess
                continue
            old, genome[gene] = genome[gene], value
            if budget.within(genome):
                break
            genome[gene] = old
        else:
            return


def _steps(
    genome: Individual, target: Sequence[float], budget: Budget, way: float
) -> Iterator[tuple[int, float, float]]:
    """Yield genes, their next levels that save (``way`` 1.0) or spend (-1.0), and the prices; the closest first."""
    steps = []
    for gene in budget.genes.with_levels:
        end = bound(gene, budget, way)
        for level in levels_between(genome[gene], end):
            price = budget.price(genome, gene, level - genome[gene])
            if price * way < 0:
                further = abs(level - target[gene]) - abs(genome[gene] - target[gene])
                steps.append((further, way * abs(price), gene, level))
                break
    return ((gene, level, abs(price)) for _, price, gene, level in sorted(steps))


def _take_up(genome: Individual, budget: Budget) -> None:
    """Move the real genes towards the bounds where they spend, or save, the most, until the limit is reached."""
    real = [gene for gene in budget.free if not budget.genes[gene].levels]
    if not real or budget.kept(genome):
        return
    start, above = list(genome), budget.excess(genome) > 0
    ends = budget.extreme(most=not above)

    def saved(share: float) -> float:
        for gene in real:
            genome[gene] = share * ends[gene] + (1 - share) * start[gene]
        return -budget.excess(genome)

    if above:
        saved(solve(saved, 0.0, 0.0, 1.0))
    elif saved(1.0) < 0:
        saved(1 - solve(lambda back: saved(1 - back), 0.0, 0.0, 1.0))
