"""Repair by scaling."""

from evoprune import Additive, Budget, Genes, Individual
from evoprune.interfaces.budget import solve
from evoprune.operators.moves import clip_genes
from evoprune.operators.repair.landing import repaired


def scale(individual: Individual, *, genes: Genes, budget: Budget) -> tuple[Individual]:
    """Scale every gene's distance to its bound by one factor, so that the limit is met.

    Below the limit, distances to the bounds where genes spend the most shrink; above it, to those where they spend the
    least. Genes that spend nothing stay.
    """
    return repaired(individual, genes, budget, _scale)


def _scale(individual: Individual, genes: Genes, budget: Budget) -> None:
    start = list(clip_genes(individual, genes.low, genes.up))
    below = budget.excess(start) < 0
    ends = [
        end if weight else gene  # a gene that spends nothing stays
        for gene, end, weight in zip(start, budget.extreme(most=below), budget.weights, strict=True)
    ]

    def scaled(factor: float) -> Individual:
        near = Individual(bound + factor * (gene - bound) for gene, bound in zip(start, ends, strict=True))
        return clip_genes(near, genes.low, genes.up)

    if isinstance(budget, Additive) and not genes.with_levels:  # what is spent is linear in the factor
        way = budget.share(ends) - budget.share(start)
        factor = budget.excess(ends) / way if way else 1.0
    elif below:
        factor = solve(lambda left: -budget.excess(scaled(left)), 0.0, 0.0, 1.0)
    else:
        factor = 1 - solve(lambda shrunk: -budget.excess(scaled(1 - shrunk)), 0.0, 0.0, 1.0)
    individual[:] = scaled(factor)
