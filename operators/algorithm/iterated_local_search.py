"""Local search by mutation, of orders also by a linear model, which leaves local optima by a stronger mutation."""

import math
import random
from collections.abc import Sequence

import numpy
from deap import base

from evoprune import Algorithm, Evaluate, Generation, Individual, Permutation, Space
from evoprune.operators.algorithm.breeding import Genomes, advance, cost, first_population, fittest, mutant, repaired

_KICK = 2  # mutations in a row that leave a local optimum; with more, good parts are lost
_MODELLED = 0.5  # share of the children that the model chooses; the others come through where it is wrong
_DRAWN = 20  # mutants of which the model chooses one
_KEPT = 2000  # scores that the model learns from again
_FAILURES = 400  # of children of a genome that is no order, which make it a local optimum


def iterated_local_search(
    toolbox: base.Toolbox, *, population: int, initial_genomes: Genomes, space: Space, noisy: bool = False
) -> Algorithm:
    """Climb by mutants, for orders half of them chosen by a model; begin anew near the best after a local optimum.

    Lourenço, Martin and Stützle, "Iterated local search", Handbook of Metaheuristics, 2003. ``population`` mutants
    of the current genome are scored at once; the best of them replaces it unless it is worse. An order counts as a
    local optimum after as many failures as there are swaps of two items, other genomes after 400. ::

        current = best = the best of the first genomes
        for each generation:
            children = mutants of current, of an order half of them the least predicted of 20; score them
                       # and current and best again where there is noise
            current  = the best of children and current; a child among equals
            after len(order)**2 / 2 children without an improvement:
                current = best, mutated twice
    """
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    yield Evaluate(people)
    (best,) = (current,) = fittest(people, 1)
    yield Generation([best])
    model = _OrderModel(len(best), cost(best)) if isinstance(space, Permutation) else _Model()
    modelled = round(_MODELLED * population)
    while True:
        failures = 0
        while failures < model.failures:
            children = [model.least(toolbox, current) for _ in range(modelled)]
            children += [mutant(toolbox, current) for _ in range(population - modelled)]
            again = [*{id(one): one for one in (current, best)}.values()] if noisy else []
            best = yield from advance([best], [*children, *again])
            model.learn(children)
            (leader,) = fittest([*children, current], 1)
            failures = 0 if leader.fitness > current.fitness else failures + population
            current = leader
        (best,) = fittest([current, best], 1)
        current = _kicked(toolbox, best)  # one: the best of several would lead back to the same optimum
        best = yield from advance([best], [current])
        model.learn([current])


class _Model:
    """A model of the cost of a genome, by default one that predicts nothing."""

    failures: float = _FAILURES

    def least(self, toolbox: base.Toolbox, parent: Individual) -> Individual:
        """Return the mutant of ``parent`` with the least prediction of some; here the first one."""
        return mutant(toolbox, parent)

    def learn(self, scored: Sequence[Individual]) -> None:
        """Learn the costs of ``scored``, and again the costs of as many earlier genomes."""


class _OrderModel(_Model):
    """A linear model of the cost of an order.

    The cost is ``typical`` plus a weight for each item at its place, and two for each item and the next one (after the
    last: the first): one for the pair in this order, one in any. Each score corrects the weights of its own terms by
    equal parts, until the model has its value (Kaczmarz, 1937). So the length of a tour is learned exactly.
    """

    def __init__(self, size: int, typical: float) -> None:
        self.failures = size**2 / 2
        self._size, self._typical = size, typical if math.isfinite(typical) else 0.0
        self._weights = numpy.zeros(3 * size**2)
        self._known: list[tuple[numpy.ndarray, float]] = []  # the terms of an order, and its cost

    def least(self, toolbox: base.Toolbox, parent: Individual) -> Individual:
        mutants = [mutant(toolbox, parent) for _ in range(_DRAWN)]
        return mutants[int(self._weights[self._terms(mutants)].sum(axis=1).argmin())]

    def learn(self, scored: Sequence[Individual]) -> None:
        costs = map(cost, scored)
        new = [pair for pair in zip(self._terms(scored), costs, strict=True) if math.isfinite(pair[1])]
        for pair in new:
            if len(self._known) < _KEPT:
                self._known.append(pair)
            else:
                self._known[random.randrange(_KEPT)] = pair
        for terms, value in [*new, *(random.choice(self._known) for _ in new)]:
            self._weights[terms] += (value - self._typical - self._weights[terms].sum()) / len(terms)

    def _terms(self, orders: Sequence[Individual]) -> numpy.ndarray:
        """Return the places of the terms of each of ``orders`` among the weights: ``(count, 3 * size)``."""
        size = self._size
        items: numpy.ndarray = numpy.array(orders)
        following = numpy.roll(items, -1, axis=1)
        low, high = numpy.minimum(items, following), numpy.maximum(items, following)
        tables = numpy.arange(size) + items * size, items * size + following, low * size + high
        return numpy.hstack([number * size**2 + table for number, table in enumerate(tables)])


def _kicked(toolbox: base.Toolbox, parent: Individual) -> Individual:
    child = parent.child()
    for _ in range(_KICK):
        (child,) = toolbox.mutate(child)
    return repaired(toolbox, child)
