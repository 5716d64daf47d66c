"""EvoPress's search for what to drop (Sieberling et al., ICML 2025, section 4.1), and a sliding window."""

from __future__ import annotations

import random
from collections.abc import Sequence

from deap import base

from evoprune import Algorithm, Evaluate, Generation, Individual
from operators.algorithm.breeding import fittest

FIRST, CHILDREN, SURVIVORS, MOST_SWAPS = 64, 32, 2, 3
"""As published: first points, children of a generation, those left after the first step of selection, and swaps."""

SCREENING = 1 / 16
"""As published: the tokens of first points and of the first step of selection, 2,048, over those of the second, 32,768.

The published search draws windows anew for each step; here they are the first ones of the text, at least one."""

Kinds = Sequence[Sequence[int]]
"""The places of the genes of each kind: as many of each are dropped at the end as at the start."""


def evopress(toolbox: base.Toolbox, kinds: Kinds, screening: float = 1.0) -> Algorithm:
    """The best of 64 random points; then of 32 children, two steps of selection, to two and to one.

    A child is the parent after min(U(1, 3), U(1, 3)) swaps of a dropped gene and a kept one of the same kind.
    ``screening``: the share of the data for the first points, and for the first step of selection.
    """
    people = [toolbox.individual() for _ in range(FIRST)]
    yield Evaluate(people, screening)
    (parent,) = fittest(people, 1)
    yield Evaluate([parent])
    while True:
        yield Generation([parent])
        children = [swapped(parent, kinds) for _ in range(CHILDREN)]
        yield Evaluate(children, screening)
        left = fittest(children, SURVIVORS)
        yield Evaluate(left)
        (parent,) = fittest([parent, *left], 1)


def swapped(parent: Individual, kinds: Kinds) -> Individual:
    """A child, by swaps within the kinds."""
    child = parent.child()
    for _ in range(min(random.randint(1, MOST_SWAPS), random.randint(1, MOST_SWAPS))):
        kind = random.choice(kinds)
        kept, dropped = ([gene for gene in kind if child[gene] == value] for value in (0.0, 1.0))
        child[random.choice(kept)], child[random.choice(dropped)] = 1.0, 0.0
    return child


def sliding_window(toolbox: base.Toolbox, windows: Sequence[Sequence[float]]) -> Algorithm:
    """All ``windows``, genomes in which consecutive blocks are dropped; then it ends."""
    people = [toolbox.individual() for _ in windows]
    for individual, genome in zip(people, windows, strict=True):
        individual[:] = genome
    yield Evaluate(people)
    yield Generation(people)
