"""Brings an allocation to the budget and within the bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evoprune import solve
from problems.pruning.evaluation.evaluator import Evaluator


def fit(evaluator: Evaluator, genome_at: Callable[[float], Sequence[float]], least: float, most: float) -> list[float]:
    """The genome among ``genome_at(c)``, each gene held within its bounds, that is on the budget in weights.

    Genes must not fall with c, which is sought between ``least`` and ``most``; where no c is on the budget, the
    nearest of these two is taken.
    """
    settings = evaluator.settings
    sizes = [group.size for group in evaluator.groups]

    def held_at(c: float) -> list[float]:
        return [min(max(gene, settings.min_sparsity), settings.max_sparsity) for gene in genome_at(c)]

    def removed_at(c: float) -> float:
        return sum(gene * size for gene, size in zip(held_at(c), sizes, strict=True))

    return held_at(solve(removed_at, settings.sparsity * sum(sizes), least, most))


def shift(evaluator: Evaluator, genome: Sequence[float]) -> list[float]:
    """``genome`` with the same number added to all genes that are not held at a bound."""
    reach = 1 + max(map(abs, genome))
    return fit(evaluator, lambda step: [gene + step for gene in genome], -reach, reach)
