"""Search that models the loss as a sum of the costs of genes, and learns interactions from children."""

import random
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain, combinations, islice
from typing import Annotated, Any

import numpy
from deap import base
from pydantic import Field

from evoprune import Algorithm, Budget, Evaluate, Individual
from evoprune.operators.algorithm.breeding import (
    Count,
    Genomes,
    Share,
    advance,
    check_limited,
    cost,
    first_population,
    fittest,
    losses,
    repaired,
)
from evoprune.operators.knapsack import Choices, Floats

_PROBED = 16  # values of a gene that are measured at most; costs in between are interpolated
_COSTLY = 0.1  # genes that cost more than this share of all have more than one of their levels measured
# Standard deviations of a cost, as shares of it: its own, and common to all, to its level in all genes, to its kind.
_OWN, _COMMON, _LEVEL, _KIND = 0.3, 0.1, 0.3, 1.0
_OFF = 0.01  # that of a loss around the sum of its genes' costs, as a share of it: genes add to each other's harm
_FAR = 1.0  # of several kinds: children that lose more than the best one by this share of its loss say little about it
_DEAR = 1e3  # factor on the costs of the kinds that the first children do without, as far as the limit allows
_LEAST = 0.01  # for these shares, a cost counts as at least this share of the median one that is not 0
_ROUNDING = 1e-6  # share of the first variances that keeps the later ones above 0
_TRIES = 8  # draws for each child, if the first ones were scored before


def additive(
    toolbox: base.Toolbox, *, budget: Budget, initial_genomes: Genomes,
    screening: Annotated[Share, Field(description="share of the data for costs and children")] = 0.125,
    offspring: Annotated[Count, Field(description="children screened in a generation")] = 16,
    survivors: Annotated[Count, Field(description="of these, scored on all data")] = 2,
    trust: Annotated[float, Field(ge=0, description="end if known costs miss the first child by less than this")] = 0.0,
) -> Algorithm:  # fmt: skip
    """Solve the knapsack of the costs that each value of each gene has alone.

    Costs that are not known are measured once, from the better one of the genomes that spend the most and the least; of
    levels with relative ``harms`` only the largest, unless it costs much. The first child is the genome within the
    budget whose costs have the least sum; the others have the least sum of costs drawn from a normal distribution,
    which each screened child narrows (Thompson sampling: Russo and others, "A tutorial on Thompson sampling", 2018).
    Where genes are of several kinds, the next children do without some kinds. Of real genes, even steps are tried. It
    ends where no child can be drawn that was not screened, or after the first one if its loss is the sum of known costs
    but for a share below ``trust``: nothing is to be learnt then. For problems with one objective.
    """
    check_limited(budget, "additive")
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    best, choices, seen = people[0], Choices(budget), set[tuple[float, ...]]()
    if initial_genomes or not choices.all_known(budget.extreme(most=True)):  # else the first child is as good a start
        yield Evaluate(people)
        (best,) = fittest(people, 1)
        seen.add(best.genome)
    ends = [best.child(budget.extreme(most)) for most in (True, False)]
    origin = ends[0]
    if not choices.all_known(origin):
        yield Evaluate(ends, screening, probe=True)
        (origin,) = fittest(ends, 1)
    belief = _Belief((yield from level_costs(origin, choices, screening)), choices.kinds, choices.levels)
    draws = numpy.random.default_rng(random.getrandbits(64))
    children = [repaired(toolbox, best.child(choices.best(costs))) for costs in belief.without_kinds()]
    best = yield from advance([best] if best.fitness.valid else [], children[:1])  # which needs no screening
    if not origin.fitness.valid:
        yield Evaluate([origin], screening, probe=True)
        known = belief.costs[choices.numbers(children[0])].sum()
        if abs(_loss(children[0], origin) - known) < trust * known:
            return
    while True:
        drawn = belief.drawn(draws, _TRIES * offspring)
        solutions = (repaired(toolbox, best.child(choices.best(costs))) for costs in drawn)
        children = [*islice(_unseen(chain(children, solutions), seen), offspring)]
        if not children:
            return
        yield Evaluate(children, screening)
        least = _loss(fittest(children, 1)[0], origin)
        for child in children:
            belief.learn(choices.numbers(child), _loss(child, origin), least)
        chosen = fittest(children, survivors)
        chosen += [child for child in children if child is best and child not in chosen]  # it is known on all the data
        best = yield from advance([best], chosen)
        children = []


def level_costs(origin: Individual, choices: Choices, screening: float) -> Generator[Evaluate, None, Floats]:
    """Return the cost of each value beyond ``origin``: ``(choices.count,)``.

    Of relative harms the largest is measured, absolute ones are costs.
    """
    costs, harms = numpy.zeros(choices.count), choices.harms(origin, absolute=False)
    known = {number: harm for own in choices.harms(origin, absolute=True).values() for number, harm in own.items()}
    costs[[*known]] = [*known.values()]
    others = [own[own != number] for own, number in zip(choices.own, choices.numbers(origin), strict=True)]
    ends = {place: max(shares, key=shares.__getitem__) for place, shares in harms.items()}
    follow = {number for shares in harms.values() for number in shares} - {*ends.values()} | known.keys()
    yield from _measured(
        ([each for each in own if each not in follow] for own in others), origin, choices, screening, costs
    )
    much = _COSTLY * sum(costs[end] for end in ends.values())
    for place, end in ends.items():
        for number, share in harms[place].items():
            costs[number] = share * costs[end]
    dear = [[each for each in others[place] if each in follow] for place, end in ends.items() if costs[end] > much]
    yield from _measured(dear, origin, choices, screening, costs)
    return costs


def _measured(
    numbers: Iterable[Sequence[int]], origin: Individual, choices: Choices, screening: float, costs: Floats
) -> Generator[Evaluate, None, None]:
    """Measure the values ``numbers`` of each gene, or some of many, and write their costs into ``costs``."""
    probes, genes = {}, [own for own in numbers if len(own)]
    spread = [_spread(own) for own in genes]
    for number in chain.from_iterable(spread):
        probes[number] = origin.child()
        place, value = choices.value(number)
        probes[number][place] = value
    if probes:
        yield Evaluate([*probes.values()], screening, probe=True)
    for number, probe in probes.items():
        costs[number] = _loss(probe, origin)
    for own, some in zip(genes, spread, strict=True):
        costs[own] = numpy.interp(own, some, costs[some])


def _spread(numbers: Sequence[int]) -> list[int]:
    """All of ``numbers``, or as many as are measured, evenly spaced from the first to the last."""
    places = numpy.linspace(0, len(numbers) - 1, min(len(numbers), _PROBED)).round()
    return [int(numbers[int(place)]) for place in places]


def _loss(individual: Individual, origin: Individual) -> float:
    before, after = losses([cost(origin), cost(individual)], above=1.0)
    return after - before


def _unseen(children: Iterable[Individual], seen: set[tuple[float, ...]]) -> Iterator[Individual]:
    """The genomes that are not in ``seen``, which are then added to it."""
    for child in children:
        if child.genome not in seen:
            seen.add(child.genome)
            yield child


class _Belief:
    """A normal distribution of the ``costs`` of values, each of one of ``kinds`` and ``levels``: all ``(count,)``."""

    def __init__(self, costs: Floats, kinds: Sequence[str], levels: Sequence[Any]) -> None:
        self.costs, self._kinds = costs, numpy.array(kinds)
        self._several: Sequence[str] = list(dict.fromkeys(self._kinds[costs != 0]))
        sizes_above_0 = abs(costs[costs != 0])
        sizes = numpy.maximum(abs(costs), _LEAST * numpy.median(sizes_above_0) if sizes_above_0.size else 1.0)
        self._own = numpy.diag((_OWN * sizes) ** 2)
        self._covariance = self._own + _COMMON**2 * numpy.outer(sizes, sizes)
        for level in dict.fromkeys(each for each in levels if each is not None):
            own = sizes * [level == each for each in levels]
            self._covariance += _LEVEL**2 * numpy.outer(own, own)
        self._of_kinds = [sizes * (self._kinds == kind) for kind in self._several] if len(self._several) > 1 else []
        for own in self._of_kinds:
            self._covariance += _KIND**2 * numpy.outer(own, own)

    def without_kinds(self) -> Iterator[Floats]:
        """The costs, then the costs with some kinds dear, for each choice of kinds that leaves another one."""
        for count in range(max(1, len(self._several))):
            for dear in combinations(self._several, count):
                yield numpy.where(numpy.isin(self._kinds, dear), _DEAR * abs(self.costs), self.costs)

    def learn(self, numbers: Sequence[int], total: float, least: float) -> None:
        """Learn by a Kalman filter that the costs ``numbers`` add up to ``total``; ``least``: of the screened."""
        if self._of_kinds and total - least > _FAR * abs(least):
            return
        with_sum = self._covariance[:, numbers].sum(1)
        gain = with_sum / (with_sum[numbers].sum() + (_OFF * total) ** 2 or 1.0)
        self.costs = self.costs + gain * (total - self.costs[numbers].sum())
        self._covariance = self._covariance - numpy.outer(gain, with_sum)

    def drawn(self, draws: numpy.random.Generator, count: int) -> Iterator[Floats]:
        """Draw ``count`` costs, the later ones further from the mean; of several kinds the mean first."""
        if self._of_kinds:
            yield self.costs
        factor = numpy.linalg.cholesky(self._covariance + _ROUNDING * self._own)
        for number in range(count):
            drawn = factor @ draws.standard_normal(len(factor))
            for own in self._of_kinds:
                drawn -= own * (own @ drawn) / (own @ own)
            yield self.costs + (1 + _TRIES * number / count) * drawn
