"""Brings an allocation to the budget and within the bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from problems.pruning.evaluation.evaluator import Evaluator

_HALVINGS = 200
"""Enough to narrow any interval of floats down to neighbours, near enough to 0."""


def fit(evaluator: Evaluator, genome_at: Callable[[float], Sequence[float]], least: float, most: float) -> list[float]:
    """The genome among ``genome_at(c)``, each gene held within its bounds, that is on the budget in weights.

    Genes must not fall with c, which is sought between ``least`` and ``most``; where no c is on the budget, the
    nearest of these two is taken.
    """
    settings = evaluator.settings
    sizes = [group.size for group in evaluator.groups]
    budget = settings.sparsity * sum(sizes)
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        genome = _held(genome_at(middle), settings.min_sparsity, settings.max_sparsity)
        if sum(gene * size for gene, size in zip(genome, sizes, strict=True)) > budget:
            most = middle
        else:
            least = middle
    return _held(genome_at(least), settings.min_sparsity, settings.max_sparsity)


def shift(evaluator: Evaluator, genome: Sequence[float]) -> list[float]:
    """``genome`` with the same number added to all genes that are not held at a bound."""
    reach = 1 + max(map(abs, genome))
    return fit(evaluator, lambda step: [gene + step for gene in genome], -reach, reach)


def _held(genome: Sequence[float], low: float, up: float) -> list[float]:
    return [min(max(gene, low), up) for gene in genome]
