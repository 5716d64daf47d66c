"""Searches of others as algorithms, to compare with ours at equal tokens and limits by ``evoprune ablate``.

::

    python -m evoprune ablate PROBLEM.yaml --budget 300000 --seeds 3 --set 'plugins=[tests.benchmarks.rivals]' \\
        --vary operators.algorithm=greedy,tests.benchmarks.rivals:drop_search,tests.benchmarks.rivals:knapsack

All but the searches of types drop attentions and MLPs (the transform ``sublayers``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import accumulate

import numpy
from deap import base

from evoprune import Algorithm, Budget, Evaluate, Generation, Individual
from evoprune.operators.algorithm.additive import level_costs
from evoprune.operators.algorithm.breeding import fittest, loss_changes
from evoprune.operators.knapsack import Choices, Floats

_MOST_SWAPS = 3


def knapsack(toolbox: base.Toolbox, *, budget: Budget) -> Algorithm:
    """Drop the least sum of losses alone, by dynamic programming (as SPDY: Frantar and Alistarh, ICML 2022)."""
    choices, costs = Choices(budget), (yield from _alone(budget))
    level_losses = [[0.0, cost][: len(own)] for cost, own in zip(costs, choices.by_gene, strict=True)]
    yield from _one(choices.best(numpy.concatenate(level_losses)))


def equal_numbers(toolbox: base.Toolbox, *, budget: Budget) -> Algorithm:
    """Drop as many attentions as MLPs, of least loss alone (Shortened LLaMA: Kim et al., 2024, section 3.1, PPL)."""
    costs, count = (yield from _alone(budget)), _number(budget)
    least = [gene for kind in _kinds(budget) for gene in sorted(kind, key=costs.__getitem__)[:count]]
    yield from _one(_without(budget, least))


def drop_search(toolbox: base.Toolbox, *, budget: Budget) -> Algorithm:
    """EvoPress's (section 4.1): swaps within attentions, and within MLPs, in equal numbers.

    As published: 64 first points, 32 children, two left after the first step of selection, which reads 2,048 of the
    32,768 tokens of the second.
    """
    kinds, count = _kinds(budget), _number(budget)
    drawn = [[gene for kind in kinds for gene in random.sample(kind, count)] for _ in range(64)]
    first = [Individual(_without(budget, dropped)) for dropped in drawn]
    return _evopress(first, lambda parent: [_swapped(budget, parent, kinds) for _ in range(32)], [1 / 16], [2])


def type_search(
    toolbox: base.Toolbox, *, budget: Budget, initial_genomes: Sequence[Sequence[float]], children: int = 16
) -> Algorithm:
    """EvoPress's, from 16 points near uniform: swaps among matrices of equal shape, three steps of selection.

    First points have all types one larger than uniform, and then smaller ones at random until the limit is kept. Types
    have no equal steps in bytes, so children beyond the limit are drawn again.
    """
    genes = budget.genes

    def first() -> Individual:
        point = Individual(max(0.0, level - 1) for level in initial_genomes[0])
        while not budget.within(point):
            point[random.choice([place for place, level in enumerate(point) if level < genes[place].up])] += 1
        return point

    bred = partial(_swapped_types, budget, _equal_matrices(budget), children)
    return _evopress([first() for _ in range(16)], bred, [1 / 64, 1 / 8], [children // 2, children // 8])


def type_search_after_knapsack(toolbox: base.Toolbox, *, budget: Budget, children: int = 16) -> Algorithm:
    """EvoPress's swaps from the least sum of known costs, the first child of ``additive``; one step of selection."""
    choices = Choices(budget)
    costs = yield from level_costs(Individual(budget.extreme(most=True)), choices, 1.0)
    bred = partial(_swapped_types, budget, _equal_matrices(budget), children)
    yield from _evopress([Individual(choices.best(costs))], bred, [1 / 4], [children // 8])


def _equal_matrices(budget: Budget) -> list[list[int]]:
    """The genes of each kind of matrix: those of equal prices."""
    genes, largest = budget.genes, budget.extreme(most=True)
    prices = [tuple(budget.price(largest, at, step) for step in range(int(gene.up))) for at, gene in enumerate(genes)]
    return [[at for at, price in enumerate(prices) if price == each] for each in dict.fromkeys(prices)]


def _swapped_types(
    budget: Budget, groups: Sequence[Sequence[int]], children: int, parent: Individual
) -> list[Individual]:
    """At most ``children`` of ``parent`` within the limit, by swaps in ``groups``."""
    found: dict[tuple[float, ...], Individual] = {}
    for _ in range(20 * children):
        child = _swapped(budget, parent, groups)
        if len(found) < children and child.genome != parent.genome and budget.within(child):
            found.setdefault(child.genome, child)
    return [*found.values()]


def _evopress(
    first: Sequence[Individual],
    children: Callable[[Individual], Sequence[Individual]],
    screening: Sequence[float],
    survivors: Sequence[int],
) -> Algorithm:
    """EvoPress (Sieberling et al., ICML 2025): the best of ``first``, then of its ``children``, again and again.

    Children are screened on the shares ``screening`` of the text, of which ``survivors`` are left, then on all of it.
    The published search draws windows anew for each step; here they are the first ones of the text, at least one.
    """
    yield Evaluate(first, screening[0])
    (parent,) = fittest(first, 1)
    yield Evaluate([parent])
    while True:
        yield Generation([parent])
        left = list(children(parent))
        for share, count in zip(screening, survivors, strict=True):
            yield Evaluate(left, share)
            left = fittest(left, count)
        yield Evaluate(left)
        (parent,) = fittest([parent, *left], 1)


def _swapped(budget: Budget, parent: Individual, groups: Sequence[Sequence[int]]) -> Individual:
    """Swap min(U(1, 3), U(1, 3)) times: in one of ``groups``, a gene saves a level and another one spends a level."""
    child, genes = parent.child(), budget.genes
    for _ in range(min(random.randint(1, _MOST_SWAPS), random.randint(1, _MOST_SWAPS))):
        (places,) = random.choices(groups, [len(group) for group in groups])
        saving = [place for place in places if child[place] < genes[place].up]
        spending = [place for place in places if child[place] > genes[place].low]
        if saving and spending:
            saver, spender = random.choice(saving), random.choice(spending)
            child[saver], child[spender] = child[saver] + 1, child[spender] - 1
    return child


def _alone(budget: Budget) -> Generator[Evaluate, None, Floats]:
    """Measure the rise of the loss without each sublayer alone, on all of the search text."""
    dense = Individual(budget.extreme(most=True))
    probes = [Individual(_without(budget, [gene])) for gene in range(len(dense))]
    return numpy.array((yield from loss_changes(dense, probes, 1.0)))


def _one(genome: Sequence[float]) -> Algorithm:
    found = [Individual(genome)]
    yield Evaluate(found)
    yield Generation(found)


def _kinds(budget: Budget) -> list[list[int]]:
    """The free genes of attentions, and of MLPs: those of equal weight."""
    weights = budget.span_costs
    return [[gene for gene in budget.free if weights[gene] == each] for each in dict.fromkeys(weights) if each]


def _number(budget: Budget) -> int:
    """The fewest attentions, and as many MLPs, that keep the budget whichever they are."""
    least = [accumulate(sorted(budget.span_costs[gene] for gene in kind)) for kind in _kinds(budget)]
    needed = budget.most - budget.limit
    return next(count for count, saved in enumerate(map(sum, zip(*least, strict=True)), 1) if saved >= needed)


def _without(budget: Budget, dropped: Sequence[int]) -> list[float]:
    return [float(gene in {*dropped}) for gene in range(len(budget.genes))]
