"""Repair by Euclidean projection."""

from evoprune import Budget, Genes, Individual
from evoprune.interfaces.budget import solve
from evoprune.operators.moves import clip_genes
from evoprune.operators.repair.landing import repaired


def project(individual: Individual, *, genes: Genes, budget: Budget) -> tuple[Individual]:
    """Move to the nearest genome (Euclidean) within the bounds that meets the limit.

    It is ``clip(gene + multiplier * price)`` with one multiplier for all genes (Held, Wolfe and Crowder, "Validation of
    subgradient optimization", Mathematical Programming 6, 1974). Genes with levels count in shares of their range.
    """
    return repaired(individual, genes, budget, _project)


def _project(individual: Individual, genes: Genes, budget: Budget) -> None:
    heaviest = max(budget.weights) or 1.0
    shares = [weight / heaviest for weight in budget.weights]
    directions = [share * way for share, way in zip(shares, budget.directions, strict=True)]
    start = Individual(individual)

    def moved(multiplier: float) -> Individual:
        away = Individual(gene + multiplier * way for gene, way in zip(start, directions, strict=True))
        return clip_genes(away, genes.low, genes.up)

    least = min((share for share in shares if share > 0), default=1.0)
    widest = (max(map(abs, [*genes.low, *genes.up])) + max(map(abs, start))) / least
    multiplier = solve(lambda m: -budget.excess(moved(m)), 0.0, -widest, widest)
    individual[:] = moved(multiplier)
