"""Searches among solutions whose values are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from evoprune import Algorithm, Evaluate, Individual

IDLE = 100
"""Requests of known solutions in a row after which a search is stopped, as in the product."""

Solution = TypeVar("Solution", bound=Hashable)


def evaluations(
    algorithm: Algorithm,
    solution: Callable[[Individual], Solution],
    value: Callable[[Solution], float],
    goals: Sequence[float],
    most: int,
    probes: bool,
) -> list[int | None]:
    """The distinct solutions that ``algorithm`` asked for until the ``value`` of one is at most each goal; None: never.

    It is stopped after ``most`` of them, or after :data:`IDLE` requests of known ones. ``probes``: whether a probe can
    reach a goal, too.
    """
    seen: set[Solution] = set()
    after: list[int | None] = [None] * len(goals)
    idle = 0
    for step in algorithm:
        if not isinstance(step, Evaluate):
            continue
        before = len(seen)
        for individual in step.individuals:
            asked = solution(individual)
            seen.add(asked)
            found = value(asked)
            individual.fitness.values = (found,)
            for place, goal in enumerate(goals):
                if after[place] is None and found <= goal and (probes or not step.probe):
                    after[place] = len(seen)
        idle = 0 if len(seen) > before else idle + 1
        if None not in after or len(seen) >= most or idle == IDLE:
            break
    return after
