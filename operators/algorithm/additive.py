"""Search that takes the loss for a sum of what each gene costs, and learns where that is wrong."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, islice
from typing import Annotated

import numpy
from deap import base
from pydantic import Field

from evoprune import Algorithm, Budget, Evaluate, Generation, Individual
from operators.algorithm.breeding import first_population, fittest
from operators.algorithm.level_costs import level_costs, loss
from operators.knapsack import Choices, Floats
from operators.spending import need_limit

_OWN, _COMMON, _KIND = 0.3, 0.1, 1.0
"""How far a cost may be off, as a share of it: alone, with all others, and of several kinds with those of its own."""

_OFF = 0.01
"""How far a loss may be off the sum of its genes' costs, as a share of it: genes add to each other's harm."""

_FAR = 1.0
"""Of several kinds: children that lose more than the best one by this share of its loss say little about it."""

_DEAR = 1e3
"""How many times as much a kind costs where the first children do without it as far as the limit allows."""

_LEAST = 0.01
"""For these shares, a cost counts as at least this share of the median one that is not 0."""

_ROUNDING = 1e-6
"""The share of the first variances that keeps the later ones above 0."""

_TRIES = 8
"""Draws for each child, if the first ones were scored before."""


def additive(
    toolbox: base.Toolbox,
    *,
    budget: Budget | None,
    initial_genomes: Sequence[Sequence[float]],
    screening: Annotated[float, Field(gt=0, le=1, description="share of the data for costs and children")] = 0.125,
    offspring: Annotated[int, Field(ge=1, description="children screened in a generation")] = 16,
    survivors: Annotated[int, Field(ge=1, description="of these, scored on all data")] = 2,
) -> Algorithm:
    """Measure what each value of each gene costs alone, and solve the knapsack of these costs.

    They are measured once, from the better one of the genomes that spend the most and the least; of a gene's levels
    whose ``harms`` are known only that of the largest, from which the others follow, unless it costs much. The first
    child is the genome within the budget whose costs add up to the least; the others are so for costs that are drawn
    from what is believed of them, a normal distribution that each screened child narrows (Thompson sampling: Russo and
    others, "A tutorial on Thompson sampling", 2018). So children differ where costs are uncertain and little is lost.
    Where genes are of several kinds, the next children do without some of these: so it is seen soon whether what one
    kind does adds up to more than another's.
    Of real genes, even steps are tried. A problem with one objective is expected. Raises
    :class:`evoprune.InputError` where there is no limit.
    """
    budget = need_limit(budget, "operators.algorithm: additive")
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    yield Evaluate(people)
    (best,) = fittest(people, 1)
    yield Generation([best])
    choices, seen = Choices(budget), {best.genome}
    ends = [best.child(), best.child()]
    for end, most in zip(ends, (True, False), strict=True):
        end[:] = budget.extreme(most)
    yield Evaluate(ends, screening, probe=True)
    (origin,) = fittest(ends, 1)
    belief = _Belief((yield from level_costs(origin, choices, screening)), choices.kinds)
    draws = numpy.random.default_rng(random.getrandbits(64))
    children = [_solution(toolbox, best, choices, costs) for costs in belief.without_kinds()]
    yield Evaluate(children[:1])  # whatever it is in the screening
    (best,) = fittest([best, *children[:1]], 1)
    while True:
        drawn = (_solution(toolbox, best, choices, costs) for costs in belief.drawn(draws, _TRIES * offspring))
        children = [*islice(_unseen(chain(children, drawn), seen), offspring)] or [best.child()]
        yield Evaluate(children, screening)
        least = loss(fittest(children, 1)[0], origin)
        for child in children:
            belief.learn(choices.numbers(child), loss(child, origin), least)
        chosen = fittest(children, survivors)
        chosen += [child for child in children if child is best and child not in chosen]  # it is known on all the data
        yield Evaluate(chosen)
        (best,) = fittest([best, *chosen], 1)
        yield Generation([best])
        children = []


def _solution(toolbox: base.Toolbox, parent: Individual, choices: Choices, costs: Floats) -> Individual:
    """A repaired child with the genes that cost the least."""
    child = parent.child()
    child[:] = choices.best(costs)
    return toolbox.repair(child)[0]  # type: ignore[no-any-return]


def _unseen(children: Iterable[Individual], seen: set[tuple[float, ...]]) -> Iterator[Individual]:
    """Those that are not in ``seen``, which notes them."""
    for child in children:
        if child.genome not in seen:
            seen.add(child.genome)
            yield child


class _Belief:
    """A normal distribution of the ``costs``, ``(count,)``, of values of these ``kinds``."""

    def __init__(self, costs: Floats, kinds: Sequence[str]) -> None:
        self.costs, self._kinds = costs, numpy.array(kinds)
        self._several: Sequence[str] = list(dict.fromkeys(self._kinds[costs != 0]))
        found = abs(costs[costs != 0])
        sizes = numpy.maximum(abs(costs), _LEAST * numpy.median(found) if found.size else 1.0)
        self._own = numpy.diag((_OWN * sizes) ** 2)
        self._covariance = self._own + _COMMON**2 * numpy.outer(sizes, sizes)
        self._of_kinds = [sizes * (self._kinds == kind) for kind in self._several] if len(self._several) > 1 else []
        for own in self._of_kinds:
            self._covariance += _KIND**2 * numpy.outer(own, own)

    def without_kinds(self) -> Iterator[Floats]:
        """The costs as they are; then with some kinds dear, for each choice of these that leaves another one."""
        for count in range(max(1, len(self._several))):
            for dear in combinations(self._several, count):
                yield numpy.where(numpy.isin(self._kinds, dear), _DEAR * abs(self.costs), self.costs)

    def learn(self, numbers: Sequence[int], total: float, least: float) -> None:
        """The costs ``numbers`` add up to ``total`` (a step of the Kalman filter); ``least``: of those seen with it."""
        if self._of_kinds and total - least > _FAR * abs(least):
            return
        with_sum = self._covariance[:, numbers].sum(1)
        gain = with_sum / (with_sum[numbers].sum() + (_OFF * total) ** 2 or 1.0)
        self.costs = self.costs + gain * (total - self.costs[numbers].sum())
        self._covariance = self._covariance - numpy.outer(gain, with_sum)

    def drawn(self, draws: numpy.random.Generator, count: int) -> Iterator[Floats]:
        """``count`` costs from the distribution, the later ones further from what is expected.

        Of several kinds the expected costs come first; in others each kind is as dear in all as expected, since what it
        adds up to is learnt from few children.
        """
        if self._of_kinds:
            yield self.costs
        factor = numpy.linalg.cholesky(self._covariance + _ROUNDING * self._own)
        for number in range(count):
            drawn = factor @ draws.standard_normal(len(factor))
            for own in self._of_kinds:
                drawn -= own * (own @ drawn) / (own @ own)
            yield self.costs + (1 + _TRIES * number / count) * drawn
