"""What each value of each gene costs alone, as measured."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

import numpy

from evoprune import Evaluate, Individual
from operators.algorithm.breeding import cost, losses
from operators.knapsack import Choices, Floats

_COSTLY = 0.1
"""A gene that costs more than this share of all has all its levels measured."""


def level_costs(origin: Individual, choices: Choices, screening: float) -> Generator[Evaluate, None, Floats]:
    """What each value costs beyond ``origin``, which was scored on the share ``screening``: ``(choices.count,)``.

    Of a gene's values whose harms are known that of the largest is measured, and the others follow; all of them are
    measured where it costs much: others add to the noise of a short text more than to what is known.
    """
    costs, harms = numpy.zeros(choices.count), choices.harms(origin)
    others = [own[own != number] for own, number in zip(choices.own, choices.numbers(origin), strict=True)]
    ends = {place: max(shares, key=shares.__getitem__) for place, shares in harms.items()}
    follow = {number for shares in harms.values() for number in shares} - {*ends.values()}
    yield from _probed(
        ([each for each in own if each not in follow] for own in others), origin, choices, screening, costs
    )
    much = _COSTLY * sum(costs[end] for end in ends.values())
    for place, end in ends.items():
        for number, share in harms[place].items():
            costs[number] = share * costs[end]
    dear = [[each for each in others[place] if each in follow] for place, end in ends.items() if costs[end] > much]
    yield from _probed(dear, origin, choices, screening, costs)
    return costs


def loss(individual: Individual, origin: Individual) -> float:
    """By how much it is above that of ``origin``, on the same data."""
    before, after = losses([cost(origin), cost(individual)], above=1.0)
    return after - before


def _probed(
    numbers: Iterable[Sequence[int]], origin: Individual, choices: Choices, screening: float, costs: Floats
) -> Generator[Evaluate, None, None]:
    """Measure the values ``numbers`` and write what they cost into ``costs``."""
    probes = {}
    for number in (number for own in numbers for number in own):
        probes[number] = origin.child()
        place, value = choices.value(number)
        probes[number][place] = value
    if probes:
        yield Evaluate([*probes.values()], screening, probe=True)
    for number, probe in probes.items():
        costs[number] = loss(probe, origin)
