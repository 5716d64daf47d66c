"""Genomes of transforms that need no search."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evoprune import Budget, Gene, InputError

if TYPE_CHECKING:
    from evoprune.problems.language_model.transforms.stack.stack import Stack

_MOST_INITIAL = 3  # each is scored on all data
_STEPS = 10**6  # of the shares that the uniform genome is chosen from, so that 45% is one


def at_share(genes: Sequence[Gene], share: float) -> list[float]:
    """For each of ``genes`` the ``share``, in [0, 1], of its range, taken to rise from dense.

    Levels are whole: the rounding error of a gene is carried to the next, so that higher ones are at even distances.
    """
    genome, rest = [], 0.5
    for gene in genes:
        value = gene.low + share * (gene.up - gene.low)
        if gene.levels:
            value, rest = divmod(value + rest, 1)
        genome.append(value)
    return genome


def uniform_share(transform: Stack, budget: Budget) -> float:
    """The least share by which the uniform genome of ``transform`` keeps the ``budget``, rounded to a millionth."""
    try:
        budget.check_reachable()
    except ValueError as error:
        raise InputError(str(error), "problem.budget") from None
    steps = range(_STEPS + 1)
    return bisect_left(steps, True, key=lambda step: budget.within(transform.uniform(step / _STEPS))) / _STEPS


def initial_within(transform: Stack, budget: Budget) -> list[list[float]]:
    """The initial genomes of ``transform`` within the ``budget``: the few that spend the most."""
    within = dict.fromkeys(tuple(genome) for genome in transform.initial_genomes() if budget.within(genome))
    return list(map(list, sorted(within, key=budget.spent, reverse=True)[:_MOST_INITIAL]))
