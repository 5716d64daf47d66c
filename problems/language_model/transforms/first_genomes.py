"""Genomes that a search begins with, or that are scored as references."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from evoprune import Budget, InputError
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.stack import Stack

_MOST_INITIAL = 3  # initial genomes, since each is scored on all data
_STEPS = 10**6  # between shares of uniform genomes, so that 45% is one of them


def references(stack: Stack, share: float | None) -> dict[str, list[float]]:
    """See :meth:`.transform.Transform.references`."""
    if len(stack.transforms) == 1:
        return stack.transforms[0].references(share)
    return {} if share is None else {UNIFORM: stack.uniform(share)}


def random_genome(stack: Stack, share: float | None) -> list[float]:
    """See :meth:`.transform.Transform.random_genome`."""
    return stack.transforms[0].random_genome(share) if len(stack.transforms) == 1 else stack.genes.random()


def initial_genomes(stack: Stack) -> Sequence[list[float]]:
    """Return the initial genomes of each transform, with the others dense."""
    dense = stack.dense
    with stack.temporarily_dense():
        return [
            [*dense[: part.start], *genes, *dense[part.stop :]]
            for transform, part in zip(stack.transforms, stack.places, strict=True)
            for genes in transform.initial_genomes()
        ]


def initial_within(stack: Stack, budget: Budget) -> list[list[float]]:
    """Return the initial genomes of ``stack`` within the ``budget``: at most the three that spend the most."""
    within = dict.fromkeys(tuple(genome) for genome in initial_genomes(stack) if budget.within(genome))
    return list(map(list, sorted(within, key=budget.spent, reverse=True)[:_MOST_INITIAL]))


def uniform_share(stack: Stack, budget: Budget) -> float:
    """Return the least share, to a millionth, whose uniform genome is within the ``budget``."""
    try:
        budget.check_reachable()
    except ValueError as error:
        raise InputError(str(error), "problem.budget") from None
    steps = range(_STEPS + 1)
    return bisect_left(steps, True, key=lambda step: budget.within(stack.uniform(step / _STEPS))) / _STEPS
