"""Repair by a common shift."""

from evoprune import Budget, Genes, Individual
from evoprune.operators.moves import clip_genes
from evoprune.operators.repair.rounding import round_to_levels
from evoprune.plugins import solve


def shift(individual: Individual, *, genes: Genes, budget: Budget) -> tuple[Individual]:
    """Shift all genes by one amount, clipped to their bounds, to meet the limit.

    Genes with levels shift by the same share of their range, and are then rounded to levels; genes without a cost do
    not move. A genome that meets the limit does not change; one of levels below the limit only gets levels that fit.
    Raises ValueError if there is no limit; the engine refuses one that no genome meets.
    """
    possible = genes.allow(individual)
    if possible and budget.kept(individual):
        return (individual,)
    at_levels = possible and all(gene.levels for gene in genes)
    if not at_levels or not budget.within(individual):
        _shift(individual, genes, budget)
    if genes.with_levels:
        round_to_levels(individual, budget)
    return (individual,)


def _shift(individual: Individual, genes: Genes, budget: Budget) -> None:
    start = Individual(individual)
    ways = [way if cost else 0.0 for way, cost in zip(budget.directions, budget.span_costs, strict=True)]

    def shifted(step: float) -> Individual:
        moved = Individual(gene + step * way for gene, way in zip(start, ways, strict=True))
        return clip_genes(moved, genes.low, genes.up)

    widest = max(map(abs, [*genes.low, *genes.up])) + max(map(abs, start))
    widest /= min([1.0, *(abs(way) for way in ways if way)])
    step = solve(lambda step: -budget.excess(shifted(step)), 0.0, -widest, widest)
    individual[:] = shifted(step)
