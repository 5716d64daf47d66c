"""The allocation that is best if what layers cost one by one adds up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy

from problems.pruning.allocations.budget import shift
from problems.pruning.evaluation.evaluator import Evaluator

_STEPS = 6
"""Between the sparsities that are tried, which run evenly from the one bound to the other: 0, 0.15, ... 0.9."""

_SHARE = 0.125
"""Of the search text that a group is tried on: of eight windows the first."""

_UNITS = 4096
"""About as many make up the model where the sizes of groups have no large common divisor to count by."""

_WORST = 700.0
"""The error of what is not finite: about the largest that a perplexity's logarithm can be."""


def layer_errors(evaluator: Evaluator) -> list[float]:
    """Groups lose what costs least in all, if the errors of groups that are pruned alone added up.

    The error is the objective's rise over the dense model, in nats a token. The sum over groups
    is minimised by dynamic programming, as SPDY does for a budget of run time (Frantar and
    Alistarh, ICML 2022). They do not add up: EvoPress (Sieberling et al., ICML 2025) shows where
    the sum misleads, and searches instead. Levels that take a little more than the budget are
    chosen; all groups are then spared alike.

    Takes 6 evaluations a group, 7 where ``min_sparsity`` is above 0, and one of the dense model,
    each on an eighth of the search text.
    """
    settings = evaluator.settings
    low, reach = settings.min_sparsity, settings.max_sparsity - settings.min_sparsity
    levels = [low + reach * step / _STEPS for step in range(_STEPS + 1)]
    sizes = [group.size for group in evaluator.groups]
    unit = max(math.gcd(*sizes), sum(sizes) // _UNITS)
    units = [max(1, round(size / unit)) for size in sizes]
    need = math.ceil((settings.sparsity - low) / reach * _STEPS * sum(units) - 1e-6) if reach else 0
    chosen = cheapest(_errors(evaluator, levels), units, need)
    return shift(evaluator, [levels[level] for level in chosen])


def cheapest(errors: Sequence[Sequence[float]], sizes: Sequence[int], need: int) -> list[int]:
    """The level of each group, for which ``errors`` has a row, so that their errors' sum is the least.

    Level l of a group of size s counts s l; together at least ``need``. The best of the groups
    from one on is known for all that may yet be needed, the last group first (Bellman, 1957).
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


def _errors(evaluator: Evaluator, levels: Sequence[float]) -> list[list[float]]:
    """What each group costs at each of ``levels`` while all others are dense."""
    dense = [0.0] * len(evaluator.groups)
    before = _loss(evaluator, dense)

    def error(group: int, level: float) -> float:
        if level == 0:
            return 0.0
        genome = [*dense]
        genome[group] = level
        rise = _loss(evaluator, genome) - before
        return rise if rise < _WORST else _WORST  # also where it is not a number

    return [[error(group, level) for level in levels] for group in range(len(dense))]


def _loss(evaluator: Evaluator, genome: Sequence[float]) -> float:
    """In nats a token, which a divergence is as it stands."""
    value = evaluator.evaluate(genome, _SHARE).values[0]
    return math.log(value) if evaluator.settings.objective == "perplexity" else value
