"""Shared steps of algorithms: first populations, children, screening and losses."""

import math
import random
from collections.abc import Callable, Generator, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Annotated

from deap import base
from pydantic import Field

from evoprune import Budget, Evaluate, Generation, Individual, InputError

Genomes = Sequence[Sequence[float]]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
FAILED_LOSS = 700.0  # of a failed candidate: about the largest logarithm of a double


def check_limited(budget: Budget, algorithm: str) -> None:
    """Raise InputError where ``budget`` has no limit."""
    if budget.limit is None:
        raise InputError(f"operators.algorithm: {algorithm} needs a limit, and the problem has none: give it a budget")


def first_population(toolbox: base.Toolbox, size: int, initial_genomes: Genomes) -> list[Individual]:
    """Return ``size`` repaired individuals: ``initial_genomes`` first, then random ones."""
    if len(initial_genomes) > size:
        raise InputError(
            f"population: {size} is fewer than the {len(initial_genomes)} known solutions to start with; ask for a "
            "larger population, or for fewer problem.initial_genomes"
        )
    population = [toolbox.individual() for _ in range(size)]
    for place, genome in enumerate(initial_genomes):
        population[place] = toolbox.individual(genome)
    return [repaired(toolbox, individual) for individual in population]


def breed(
    toolbox: base.Toolbox, population: Sequence[Individual], count: int, mate_probability: float,
    mutate_probability: float, select: Callable[[Sequence[Individual], int], Sequence[Individual]] | None = None,
) -> list[Individual]:  # fmt: skip
    """Return ``count`` repaired children; ``select`` draws their parents, ``toolbox.select`` by default."""
    children: list[Individual] = []
    population = _Scored(population)
    while len(children) < count:
        parents = (select or toolbox.select)(population, 2)
        pair = [parent.child() for parent in parents]
        if random.random() < mate_probability:
            both = tuple(sorted({*pair[0].parents, *pair[1].parents}))
            pair = list(toolbox.mate(*pair))
            for child in pair:
                child.parents = both
        for child in pair[: count - len(children)]:
            if random.random() < mutate_probability:
                (child,) = toolbox.mutate(child)
            children.append(repaired(toolbox, child))
    return children


def mutant(toolbox: base.Toolbox, parent: Individual) -> Individual:
    """Return a mutated and repaired child of one parent."""
    return repaired(toolbox, toolbox.mutate(parent.child())[0])


def repaired(toolbox: base.Toolbox, individual: Individual) -> Individual:
    """Return ``individual``, repaired in place."""
    (individual,) = toolbox.repair(individual)
    return individual


class _Scored(list[Individual]):
    """A population with final scores, which is ranked once."""

    @cached_property
    def best_first(self) -> list[Individual]:
        return sorted(self, key=attrgetter("fitness.order"), reverse=True)


def fittest(individuals: Sequence[Individual], count: int) -> list[Individual]:
    """Return the ``count`` best, best first; of equal ones the first."""
    return (individuals if isinstance(individuals, _Scored) else _Scored(individuals)).best_first[:count]


def screened(
    children: Sequence[Individual], survivors: int, share: float
) -> Generator[Evaluate, None, Sequence[Individual]]:
    """Return the best ``survivors`` of ``children`` on a share of the data; all where screening would save nothing."""
    if share == 1 or survivors >= len(children):
        return children
    yield Evaluate(children, share)
    return fittest(children, survivors)


def advance(
    elite: Sequence[Individual], children: Sequence[Individual]
) -> Generator[Evaluate | Generation, None, Individual]:
    """Score ``children`` on all data; end a generation with the best of ``elite`` and ``children``; return it."""
    yield Evaluate(children)
    (best,) = fittest([*elite, *children], 1)
    yield Generation([best])
    return best


def cost(individual: Individual) -> float:
    """Return the first objective, to be minimised; infinite for a failed candidate."""
    return -float(individual.fitness.wvalues[0])


def losses(costs: Sequence[float], above: float = 0.0) -> list[float]:
    """Return ``costs`` on a scale with comparable differences: logarithms if all exceed ``above``; all finite."""
    finite = [cost for cost in costs if math.isfinite(cost)]
    scale = math.log if all(cost > above for cost in finite) else float
    worst = max([FAILED_LOSS, *map(scale, finite)])
    return [scale(cost) if math.isfinite(cost) else worst for cost in costs]


def loss_changes(
    origin: Individual, probes: Sequence[Individual], screening: float
) -> Generator[Evaluate, None, list[float]]:
    """Return the loss of each of ``probes`` relative to ``origin``, on a share ``screening`` of the data."""
    centre = origin.child()
    yield Evaluate([centre, *probes], screening, probe=True)
    before, *after = losses([cost(one) for one in (centre, *probes)])
    return [loss - before for loss in after]
