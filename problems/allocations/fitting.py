"""Brings an allocation to the budget and within the bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evoprune import Budget, solve

Loss = Callable[[Sequence[float], float], float]
"""Measures a genome on a share of the search text, in nats per token."""


def fit(budget: Budget, genome_at: Callable[[float], Sequence[float]], least: float, most: float) -> list[float]:
    """Return the genome among ``genome_at(c)``, each gene held within its bounds, that is on the ``budget``.

    Genes must not decrease with c in [``least``, ``most``]; if no c is on the budget, the nearer of these two is used.
    """

    def held_at(c: float) -> list[float]:
        return budget.genes.nearest(genome_at(c))

    return held_at(solve(lambda c: -budget.excess(held_at(c)), 0.0, least, most))


def shift(budget: Budget, genome: Sequence[float]) -> list[float]:
    """Return ``genome`` with the same number added to all genes that are not held at a bound."""
    reach = 1 + max(map(abs, genome))
    return fit(budget, lambda step: [gene + step for gene in genome], -reach, reach)
