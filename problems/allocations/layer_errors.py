"""The allocation that is best if the errors of single layers add up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy

from evoprune import Budget
from problems.allocations.fitting import Loss, shift
from problems.transforms.weights.transform import Weights

_STEPS = 6  # intervals between the sparsities that are tried, evenly spaced from bound to bound: 0, 0.15, ... 0.9
_SHARE = 0.125  # of the search text for each measurement
_UNITS = 4096  # approximate number of units in the model, if group sizes have no large common divisor as a unit
_WORST = 700.0  # error for values that are not finite: about the largest logarithm of a perplexity


def layer_errors(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Minimise the sum of errors, each measured with one group pruned alone.

    The error is the objective's rise over the dense model, in nats per token. The sum over groups is minimised by
    dynamic programming, as SPDY does for a budget of run time (Frantar and Alistarh, ICML 2022). In reality errors do
    not add up: EvoPress (Sieberling et al., ICML 2025) shows where the sum is wrong, and searches instead. The chosen
    levels remove slightly more than the budget requires; a shift of all groups corrects that.

    Takes 6 evaluations a group, 7 where ``min_sparsity`` is above 0, and one of the dense model.
    """
    settings = cut.settings
    low, reach = settings.min_sparsity, settings.max_sparsity - settings.min_sparsity
    levels = [low + reach * step / _STEPS for step in range(_STEPS + 1)]
    sizes = [group.size for group in cut.groups]
    unit = max(math.gcd(*sizes), sum(sizes) // _UNITS)
    units = [max(1, round(size / unit)) for size in sizes]
    missing = max(0.0, budget.excess([low] * len(sizes)))  # the share to remove beyond the lower bounds
    need = math.ceil(missing / reach * _STEPS * sum(units) - 1e-6) if reach else 0
    chosen = cheapest(_errors(cut.dense, levels, loss), units, need)
    return shift(budget, [levels[level] for level in chosen])


def cheapest(errors: Sequence[Sequence[float]], sizes: Sequence[int], need: int) -> list[int]:
    """Return the level of each group, a row of ``errors``, for the lowest sum of errors.

    Level l of a group of size s counts s l; all together count at least ``need``. Dynamic programming from the last
    group to the first, for every remaining need (Bellman, 1957).
    """
    needs = numpy.arange(need + 1)
    best = numpy.where(needs > 0, math.inf, 0.0)
    choices = []
    for row, size in zip(reversed(errors), reversed(sizes), strict=True):
        costs = numpy.stack([error + best[numpy.maximum(needs - size * level, 0)] for level, error in enumerate(row)])
        choices.append(costs.argmin(0))
        best = costs.min(0)
    levels = []
    for choice, size in zip(reversed(choices), sizes, strict=True):
        levels.append(int(choice[need]))
        need = max(0, need - size * levels[-1])
    return levels


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
