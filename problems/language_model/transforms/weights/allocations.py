"""Allocations: baselines without search.

An allocation is a function ``allocation(cut, budget)`` that returns a sparsity for each group of ``cut``, the transform
``weights``, within the genes' bounds and on the ``budget``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from evoprune import Budget
from evoprune.interfaces.budget import solve
from evoprune.problems.language_model.calibration.statistics import INPUT_NORMS, statistics
from evoprune.problems.language_model.scores.builtin import wanda
from evoprune.problems.language_model.transforms.weights.genes import Group

if TYPE_CHECKING:  # it finds allocations
    from evoprune.problems.language_model.transforms.weights.transform import Weights


def fit(budget: Budget, genome_at: Callable[[float], Sequence[float]], least: float, most: float) -> list[float]:
    """Return ``genome_at(c)`` clipped to the bounds of the genes, with the c that is on the ``budget``.

    Genes must not decrease with c in [``least``, ``most``]; if no c is on the budget, the nearer of both ends is used.
    """

    def within_bounds(c: float) -> list[float]:
        return budget.genes.nearest(genome_at(c))

    return within_bounds(solve(lambda c: -budget.excess(within_bounds(c)), 0.0, least, most))


def shift(budget: Budget, genome: Sequence[float]) -> list[float]:
    """Return ``genome`` with the same number added to all genes that no bound stops."""
    reach = 1 + max(map(abs, genome))
    return fit(budget, lambda step: [gene + step for gene in genome], -reach, reach)


_OUTLIER = 5.0  # times the mean score of its group: the paper's M
_LAMBDA = 0.08  # half of the range of sparsities: of OWL


def owl(cut: Weights, budget: Budget) -> list[float]:
    """Give groups with a larger share of outliers among their Wanda scores a lower sparsity.

    Yin et al., "Outlier Weighed Layerwise Sparsity", ICML 2024, with a group in place of a transformer block. Shares
    are scaled to a range of twice lambda, as in the authors' code.
    """
    cut.apply(cut.dense)
    gathered = statistics(cut.resident.model, cut.texts.calibration.tokens, cut.matrices, {INPUT_NORMS})
    norms = {matrix.name: known[INPUT_NORMS] for matrix, known in gathered}
    shares = [_outliers(group, norms) for group in cut.groups]
    spread = max(shares) - min(shares)
    scale = 2 * _LAMBDA / spread if spread else 0.0
    return shift(budget, [-scale * share for share in shares])


def _outliers(group: Group, norms: dict[str, torch.Tensor]) -> float:
    """Return the share of the scores of ``group``, whose matrices are dense, that are far above their mean."""
    scores = [wanda(m.rows(m.weight).float(), input_norms=norms[m.name]) for m in group.matrices]
    mean = sum(float(score.sum()) for score in scores) / group.size
    return sum(int((score > _OUTLIER * mean).sum()) for score in scores) / group.size


_QUANTILES = 4097  # of each matrix's scores: its sparsity at a threshold is accurate to 1/4096


def raw(cut: Weights, budget: Budget) -> list[float]:
    """Remove the lowest scores of the whole model (Blalock et al., MLSys 2020)."""
    cut.apply(cut.dense)
    quantiles = {}
    for matrix, score in cut.scoring.scored(cut.resident.model):
        values = score.flatten().sort().values.cpu()  # MPS has no float64
        places = torch.linspace(0, len(values) - 1, _QUANTILES, dtype=torch.float64).round().long()
        quantiles[matrix.name] = values[places].double()

    def genome_at(threshold: float) -> list[float]:
        below = {name: float(torch.searchsorted(values, threshold)) / _QUANTILES for name, values in quantiles.items()}
        return [sum(below[m.name] * m.size for m in group.matrices) / group.size for group in cut.groups]

    highest = max(float(values[-1]) for values in quantiles.values())
    lowest = min(float(values[0]) for values in quantiles.values())
    # Equal scores make sparsities jump, so the fit can miss the budget; the shift corrects that.
    return shift(budget, fit(budget, genome_at, lowest, highest))
