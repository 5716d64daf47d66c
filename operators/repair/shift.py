"""Repair by a common shift."""

from evoprune import Budget, Genes, Individual
from evoprune.interfaces.budget import solve
from evoprune.operators.moves import clip_genes
from evoprune.operators.repair.landing import repaired


def shift(individual: Individual, *, genes: Genes, budget: Budget) -> tuple[Individual]:
    """Move every gene the same way and as far, clipped to its bounds, so that the limit is met.

    Genes with levels move by the same share of their range, and genes that spend nothing stay.
    """
    return repaired(individual, genes, budget, _shift)


def _shift(individual: Individual, genes: Genes, budget: Budget) -> None:
    start = Individual(individual)
    ways = [way if weight else 0.0 for way, weight in zip(budget.directions, budget.weights, strict=True)]

    def shifted(step: float) -> Individual:
        moved = Individual(gene + step * way for gene, way in zip(start, ways, strict=True))
        return clip_genes(moved, genes.low, genes.up)

    widest = max(map(abs, [*genes.low, *genes.up])) + max(map(abs, start))
    step = solve(lambda step: -budget.excess(shifted(step)), 0.0, -widest, widest)
    individual[:] = shifted(step)
