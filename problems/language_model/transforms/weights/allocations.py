"""Allocations: baselines without search.

An allocation is a function ``allocation(cut, budget, loss)`` that returns a sparsity for each group of ``cut``, the
transform ``weights``, within the bounds of its genes and on the ``budget``. ``loss(genome, share)`` measures a genome
on a share of the search text, in nats per token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy
import torch

from evoprune import Budget
from evoprune.interfaces.budget import solve
from evoprune.operators.knapsack import cheapest
from evoprune.problems.language_model.calibration.statistics import INPUT_NORMS
from evoprune.problems.language_model.scores.builtin import wanda
from evoprune.problems.language_model.transforms.options import Loss
from evoprune.problems.language_model.transforms.weights.genes import Group

if TYPE_CHECKING:  # it finds allocations
    from evoprune.problems.language_model.transforms.weights.transform import Weights


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


def erdos_renyi(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Keep weights in proportion to the sum of a matrix's sides, so that larger ones lose more.

    Density is in proportion to (n_in + n_out) / (n_in n_out): Mocanu et al., Nature Communications 2018. A group's
    matrices count together.
    """
    densities = [_density(group) for group in cut.groups]
    most = 1 / min(densities)
    return fit(budget, lambda scale: [1 + scale * density for density in densities], -most, 0.0)


def _density(group: Group) -> float:
    return sum(sum(matrix.weight.shape) for matrix in group.matrices) / group.size


_TAU = 0.3  # before scaling, sparsities are within 1 -+ this: of AlphaPruning


def alpha(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Give groups whose spectra have heavier tails, a sign of better training, a lower sparsity.

    Lu et al., "AlphaPruning", NeurIPS 2024. A group's exponent is the mean of its matrices'; exponents are scaled to [1
    - tau, 1 + tau], and then by one factor for the budget.
    """
    bases = [[cut.masks.base(matrix) for matrix in group.matrices] for group in cut.groups]
    exponents = [fmean(tail_exponent(base) for base in group) for group in bases]
    spread = max(exponents) - min(exponents)
    places = [(exponent - min(exponents)) / spread if spread else 0.5 for exponent in exponents]
    shares = [1 - _TAU + 2 * _TAU * place for place in places]
    return fit(budget, lambda scale: [scale * share for share in shares], 0.0, 1 / (1 - _TAU))


def tail_exponent(weight: torch.Tensor) -> float:
    """Return Hill's estimate of the power law's exponent from the larger half of the squared singular values.

    Rounded to six digits: further ones depend on threads and device, and genomes must not.
    """
    values = torch.linalg.svdvals(weight.cpu().double()).square().flip(0)
    values = values.clamp_min(torch.finfo(values.dtype).tiny)
    tail = max(1, len(values) // 2)
    excess = (values[-tail:] / values[max(0, len(values) - tail - 1)]).log().sum()
    return float(f"{1 + tail / max(float(excess), 1e-12):.6g}")


_OUTLIER = 5.0  # times the mean score of its group: the paper's M
_LAMBDA = 0.08  # half of the range of sparsities: of OWL


def owl(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Give groups with a larger share of outliers among their Wanda scores a lower sparsity.

    Yin et al., "Outlier Weighed Layerwise Sparsity", ICML 2024, with a group in place of a transformer block. Shares
    are scaled to a range of twice lambda, as in the authors' code.
    """
    norms = {matrix.name: known[INPUT_NORMS] for matrix, known in cut.statistics({INPUT_NORMS})}
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


def raw(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Remove the lowest scores of the whole model (Blalock et al., MLSys 2020)."""
    return _ranked(cut, budget, normalise=False)


def normalised(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """As :func:`raw`, after dividing each matrix's scores by their root mean square (Molchanov et al., ICLR 2017)."""
    return _ranked(cut, budget, normalise=True)


def _ranked(cut: Weights, budget: Budget, normalise: bool) -> list[float]:
    quantiles = {}
    for matrix, score in cut.scored():
        values = score.flatten().sort().values.cpu()  # MPS has no float64
        places = torch.linspace(0, len(values) - 1, _QUANTILES, dtype=torch.float64).round().long()
        scale = float(values.double().square().mean().sqrt()) or 1.0 if normalise else 1.0  # 0 if all scores are
        quantiles[matrix.name] = values[places].double() / scale

    def genome_at(threshold: float) -> list[float]:
        below = {name: float(torch.searchsorted(values, threshold)) / _QUANTILES for name, values in quantiles.items()}
        return [sum(below[m.name] * m.size for m in group.matrices) / group.size for group in cut.groups]

    highest = max(float(values[-1]) for values in quantiles.values())
    lowest = min(float(values[0]) for values in quantiles.values())
    # Equal scores make sparsities jump, so the fit can miss the budget; the shift corrects that.
    return shift(budget, fit(budget, genome_at, lowest, highest))


_STEPS = 6  # intervals between the sparsities that are tried, evenly spaced from bound to bound: 0, 0.15, ... 0.9
_SHARE = 0.125  # of the search text for each measurement
_UNITS = 4096  # approximate number of units in the model, if group sizes have no large common divisor as a unit
_WORST = 700.0  # error for values that are not finite: about the largest logarithm of a perplexity


def layer_errors(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Minimise the sum of errors, each measured with one group pruned alone.

    The error is the objective's rise over the dense model, in nats per token; dynamic programming minimises the sum
    over groups, as in SPDY (Frantar and Alistarh, ICML 2022). Takes 6 evaluations a group, 7 where ``min_sparsity`` is
    above 0, and one of the dense model.
    """
    settings = cut.settings
    low, reach = settings.min_sparsity, settings.max_sparsity - settings.min_sparsity
    levels = [low + reach * step / _STEPS for step in range(_STEPS + 1)]
    sizes = [group.size for group in cut.groups]
    unit = max(math.gcd(*sizes), sum(sizes) // _UNITS)
    units = [max(1, round(size / unit)) for size in sizes]
    missing = max(0.0, budget.excess([low] * len(sizes)))  # the share to remove beyond the lower bounds
    need = math.ceil(missing / reach * _STEPS * sum(units) - 1e-6) if reach else 0
    errors = [numpy.array(row) for row in _errors(cut.dense, levels, loss)]
    left = [size * numpy.arange(_STEPS, -1, -1) for size in units]
    chosen = cheapest(errors, left, max(0, _STEPS * sum(units) - need))
    return shift(budget, [levels[level] for level in chosen])


def _errors(dense: Sequence[float], levels: Sequence[float], loss: Loss) -> list[list[float]]:
    before = loss(dense, _SHARE)

    def error(group: int, level: float) -> float:
        if level == 0:
            return 0.0
        genome = [*dense]
        genome[group] = level
        rise = loss(genome, _SHARE) - before
        return rise if rise < _WORST else _WORST  # also where it is not a number

    return [[error(group, level) for level in levels] for group in range(len(dense))]
