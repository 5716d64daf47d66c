"""Search with an additive model of the loss, which learns interactions from children."""

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

_PROBED = 16  # most values of a gene that are measured; the costs of the others are interpolated
_COSTLY = 0.1  # share of the sum of all costs above which several levels of a gene are measured
# Prior standard deviations of a cost, as shares of it: its own, common to all, to a level of all genes, to a kind.
_OWN, _COMMON, _LEVEL, _KIND = 0.3, 0.1, 0.3, 1.0
_NOISE = 0.01  # standard deviation of a loss around the sum of costs, as a share of the sum: genes interact
_OUTLIER = 1.0  # with several kinds, a child is no evidence if its loss exceeds the least by this share
_PENALTY = 1e3  # factor on the costs of the kinds that some first children avoid, as far as the limit allows
_FLOOR = 0.01  # least size of a cost in these shares, as a share of the median of the costs that are not 0
_JITTER = 1e-6  # share of the prior variances added to the later ones, so that they stay positive
_TRIES = 8  # draws per child, as some genomes were scored before


def additive(
    toolbox: base.Toolbox, *, budget: Budget, initial_genomes: Genomes,
    screening: Annotated[Share, Field(description="share of the data for costs and children")] = 0.125,
    offspring: Annotated[Count, Field(description="children screened in a generation")] = 16,
    survivors: Annotated[Count, Field(description="of these, scored on all data")] = 2,
) -> Algorithm:  # fmt: skip
    """Model the loss as a sum of costs of genes, minimise it by dynamic programming, and learn from children.

    Unknown costs are measured once, from the better of the genomes with the largest and the least spending; of levels
    with relative losses, only the largest level is measured, unless it costs much. The first child is the genome
    within the budget with the least sum of costs. Later children minimise costs drawn from their normal posterior,
    which each screened child updates (Thompson sampling: Russo and others, "A tutorial on Thompson sampling", 2018).
    Where genes are of several kinds, the first children avoid some kinds. Real genes take evenly spaced
    values. The search ends if all drawn children were screened before. For problems with one objective.
    """
    check_limited(budget, "additive")
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    best, choices, seen = people[0], Choices(budget), set[tuple[float, ...]]()
    if initial_genomes or not choices.losses_known(
        budget.extreme(most=True)
    ):  # else the first child is as good a start
        yield Evaluate(people)
        (best,) = fittest(people, 1)
        seen.add(best.genome)
    ends = [best.child(budget.extreme(most)) for most in (True, False)]
    origin = ends[0]
    if not choices.losses_known(origin):
        yield Evaluate(ends, screening, probe=True)
        (origin,) = fittest(ends, 1)
    posterior = _Posterior((yield from level_costs(origin, choices, screening)), choices.kinds, choices.levels)
    generator = numpy.random.default_rng(random.getrandbits(64))
    children = [repaired(toolbox, best.child(choices.best(costs))) for costs in posterior.without_kinds()]
    best = yield from advance([best] if best.fitness.valid else [], children[:1])  # which needs no screening
    if not origin.fitness.valid:
        yield Evaluate([origin], screening, probe=True)
    while True:
        drawn = posterior.samples(generator, _TRIES * offspring)
        solutions = (repaired(toolbox, best.child(choices.best(costs))) for costs in drawn)
        children = [*islice(_unseen(chain(children, solutions), seen), offspring)]
        if not children:
            return
        yield Evaluate(children, screening)
        least = _loss(fittest(children, 1)[0], origin)
        for child in children:
            posterior.update(choices.numbers(child), _loss(child, origin), least)
        chosen = fittest(children, survivors)
        chosen += [child for child in children if child is best and child not in chosen]  # it is known on all the data
        best = yield from advance([best], chosen)
        children = []


def level_costs(origin: Individual, choices: Choices, screening: float) -> Generator[Evaluate, None, Floats]:
    """Return the cost of each value relative to ``origin``: ``(choices.count,)``.

    Absolute losses are costs; of relative losses, the largest is measured, and all of a costly gene.
    """
    costs, level_losses = numpy.zeros(choices.count), choices.level_losses(origin, absolute=False)
    absolute = choices.level_losses(origin, absolute=True).values()
    known = {number: cost for by_value in absolute for number, cost in by_value.items()}
    costs[[*known]] = [*known.values()]
    others = [numbers[numbers != at] for numbers, at in zip(choices.by_gene, choices.numbers(origin), strict=True)]
    largest = {place: max(shares, key=shares.__getitem__) for place, shares in level_losses.items()}
    derived = {number for shares in level_losses.values() for number in shares} - {*largest.values()} | known.keys()
    unknown = ([number for number in numbers if number not in derived] for numbers in others)
    yield from _measured(unknown, origin, choices, screening, costs)
    threshold = _COSTLY * sum(costs[number] for number in largest.values())
    for place, most in largest.items():
        for number, share in level_losses[place].items():
            costs[number] = share * costs[most]
    costly = [place for place, most in largest.items() if costs[most] > threshold]
    again = ([number for number in others[place] if number in derived] for place in costly)
    yield from _measured(again, origin, choices, screening, costs)
    return costs


def _measured(
    numbers: Iterable[Sequence[int]], origin: Individual, choices: Choices, screening: float, costs: Floats
) -> Generator[Evaluate, None, None]:
    """Measure the values ``numbers`` of each gene, or some of many, and write their costs into ``costs``."""
    probes, genes = {}, [of_gene for of_gene in numbers if len(of_gene)]
    spread = [_spread(of_gene) for of_gene in genes]
    for number in chain.from_iterable(spread):
        probes[number] = origin.child()
        place, value = choices.value(number)
        probes[number][place] = value
    if probes:
        yield Evaluate([*probes.values()], screening, probe=True)
    for number, probe in probes.items():
        costs[number] = _loss(probe, origin)
    for of_gene, measured in zip(genes, spread, strict=True):
        costs[of_gene] = numpy.interp(of_gene, measured, costs[measured])


def _spread(numbers: Sequence[int]) -> list[int]:
    """Return at most ``_PROBED`` of ``numbers``, evenly spaced, with the first and the last."""
    places = numpy.linspace(0, len(numbers) - 1, min(len(numbers), _PROBED)).round()
    return [int(numbers[int(place)]) for place in places]


def _loss(individual: Individual, origin: Individual) -> float:
    before, after = losses([cost(origin), cost(individual)], above=1.0)
    return after - before


def _unseen(children: Iterable[Individual], seen: set[tuple[float, ...]]) -> Iterator[Individual]:
    """Yield the children whose genome is not in ``seen``, and add it."""
    for child in children:
        if child.genome not in seen:
            seen.add(child.genome)
            yield child


class _Posterior:
    """Normal distribution of the ``costs`` of values, ``(count,)``. ``kinds``, ``levels``: of each value."""

    def __init__(self, costs: Floats, kinds: Sequence[str], levels: Sequence[Any]) -> None:
        self.costs, self._kinds = costs, numpy.array(kinds)
        self._several: Sequence[str] = list(dict.fromkeys(self._kinds[costs != 0]))
        sizes_above_0 = abs(costs[costs != 0])
        sizes = numpy.maximum(abs(costs), _FLOOR * numpy.median(sizes_above_0) if sizes_above_0.size else 1.0)
        self._own = numpy.diag((_OWN * sizes) ** 2)
        self._covariance = self._own + _COMMON**2 * numpy.outer(sizes, sizes)
        for level in dict.fromkeys(level for level in levels if level is not None):
            of_level = sizes * [level == other for other in levels]
            self._covariance += _LEVEL**2 * numpy.outer(of_level, of_level)
        self._of_kinds = [sizes * (self._kinds == kind) for kind in self._several] if len(self._several) > 1 else []
        for of_kind in self._of_kinds:
            self._covariance += _KIND**2 * numpy.outer(of_kind, of_kind)

    def without_kinds(self) -> Iterator[Floats]:
        """Yield the costs with a penalty on each proper subset of the kinds, the empty one first."""
        for count in range(max(1, len(self._several))):
            for avoided in combinations(self._several, count):
                yield numpy.where(numpy.isin(self._kinds, avoided), _PENALTY * abs(self.costs), self.costs)

    def update(self, numbers: Sequence[int], total: float, least: float) -> None:
        """Condition on the sum ``total`` of the costs ``numbers`` (Kalman filter). ``least``: of the screened sums."""
        if self._of_kinds and total - least > _OUTLIER * abs(least):
            return
        with_sum = self._covariance[:, numbers].sum(1)
        gain = with_sum / (with_sum[numbers].sum() + (_NOISE * total) ** 2 or 1.0)
        self.costs = self.costs + gain * (total - self.costs[numbers].sum())
        self._covariance = self._covariance - numpy.outer(gain, with_sum)

    def samples(self, generator: numpy.random.Generator, count: int) -> Iterator[Floats]:
        """Draw ``count`` vectors of costs with growing variance; with several kinds, the mean first."""
        if self._of_kinds:
            yield self.costs
        factor = numpy.linalg.cholesky(self._covariance + _JITTER * self._own)
        for number in range(count):
            deviation = factor @ generator.standard_normal(len(factor))
            for of_kind in self._of_kinds:
                deviation -= of_kind * (of_kind @ deviation) / (of_kind @ of_kind)
            yield self.costs + (1 + _TRIES * number / count) * deviation
