"""What the algorithms share: first populations, and children."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from deap import base

from evoprune import Individual, InputError

FAILED = 700.0
"""The loss of what could not be scored: about the largest that a perplexity's logarithm can be."""


def first_population(toolbox: base.Toolbox, size: int, initial_genomes: Sequence[Sequence[float]]) -> list[Individual]:
    """``size`` repaired individuals: ``initial_genomes`` first, then random ones.

    Raises :class:`evoprune.InputError` if there are more ``initial_genomes`` than that.
    """
    if len(initial_genomes) > size:
        raise InputError(
            f"population: {size} is fewer than the {len(initial_genomes)} known solutions that the search is to start "
            "with; ask for a larger population, or, where problem.initial_genomes names them, for fewer"
        )
    population = [toolbox.individual() for _ in range(size)]
    for individual, genome in zip(population, initial_genomes, strict=False):
        individual[:] = genome
    return [toolbox.repair(individual)[0] for individual in population]


def breed(
    toolbox: base.Toolbox,
    population: Sequence[Individual],
    count: int,
    mate_probability: float,
    mutate_probability: float,
    select: Callable[[Sequence[Individual], int], Sequence[Individual]] | None = None,
) -> list[Individual]:
    """``count`` repaired children of parents that ``select`` draws: ``toolbox.select``, if None.

    Both children of a pair are used while there is room.
    """
    children: list[Individual] = []
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
            (child,) = toolbox.repair(child)
            children.append(child)
    return children


def mutant(toolbox: base.Toolbox, parent: Individual) -> Individual:
    """A mutated and repaired child of one parent."""
    (child,) = toolbox.mutate(parent.child())
    (child,) = toolbox.repair(child)
    return child  # type: ignore[no-any-return]


def fittest(individuals: Sequence[Individual], count: int) -> list[Individual]:
    """The ``count`` best, best first; of equals the first."""
    return sorted(individuals, key=lambda individual: individual.fitness, reverse=True)[:count]


def cost(individual: Individual) -> float:
    """The first objective as something to make small; infinite where it could not be scored."""
    return -float(individual.fitness.wvalues[0])


def losses(costs: Sequence[float], above: float = 0.0) -> list[float]:
    """``costs`` on a scale where differences are comparable: logarithms if all exceed ``above``, as perplexities do.

    An infinite one becomes :data:`FAILED`, or the largest of the others if that is more.
    """
    finite = [cost for cost in costs if math.isfinite(cost)]
    scale = math.log if all(cost > above for cost in finite) else float
    worst = max([FAILED, *map(scale, finite)])
    return [scale(cost) if math.isfinite(cost) else worst for cost in costs]
