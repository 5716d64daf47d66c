"""EvoPress's search for types (Sieberling et al., ICML 2025), from its start near uniform."""

from __future__ import annotations

import random
from collections import defaultdict

from evoprune import Algorithm, Evaluate, Generation, Individual
from operators.algorithm.breeding import fittest
from tests.benchmarks.bits.task import Task

FIRST, CHILDREN, SURVIVORS, MOST_SWAPS = 16, 128, (16, 4), 3
"""First points, children of a generation, those left after the first two steps of selection, and swaps."""

SCREENING = (1 / 64, 1 / 8)
"""The tokens of the first two steps of selection over those of the last, 131,072: at least one window here."""


def evopress(task: Task, children: int = CHILDREN, survivors: tuple[int, ...] = SURVIVORS) -> Algorithm:
    """The best of some random points; then of its children, by three steps of selection.

    First points have all types one larger than uniform, and then smaller ones at random until the limit is kept. A
    child is the parent after min(U(1, 3), U(1, 3)) swaps: a matrix takes its next smaller type, and another one of
    equal shape its next larger. Types have no equal steps in bytes, so children beyond the limit are drawn again.
    """
    groups = _groups(task)
    people = [_first(task) for _ in range(FIRST)]
    yield Evaluate(people, SCREENING[0])
    (parent,) = fittest(people, 1)
    yield Evaluate([parent])
    while True:
        yield Generation([parent])
        left = _children(task, parent, groups, children)
        for count, screening in zip(survivors, SCREENING, strict=True):
            yield Evaluate(left, screening)
            left = fittest(left, count)
        yield Evaluate(left)
        (parent,) = fittest([parent, *left], 1)


def _groups(task: Task) -> list[list[int]]:
    """The genes of matrices of equal shape."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, matrix in enumerate(task.transform.matrices):
        groups[tuple(matrix.weight.shape)].append(place)
    return [*groups.values()]


def _first(task: Task) -> Individual:
    genes, point = task.problem.genes, Individual(max(0.0, level - 1) for level in task.uniform)
    while not task.budget.within(point):
        place = random.choice([place for place, level in enumerate(point) if level < genes[place].up])
        point[place] += 1
    return point


def _children(task: Task, parent: Individual, groups: list[list[int]], count: int) -> list[Individual]:
    found: dict[tuple[float, ...], Individual] = {}
    for _ in range(20 * count):
        child = _swapped(task, parent, groups)
        if child.genome != parent.genome and task.budget.within(child):
            found.setdefault(child.genome, child)
        if len(found) == count:
            break
    return [*found.values()]


def _swapped(task: Task, parent: Individual, groups: list[list[int]]) -> Individual:
    child, genes = parent.child(), task.problem.genes
    for _ in range(min(random.randint(1, MOST_SWAPS), random.randint(1, MOST_SWAPS))):
        (group,) = random.choices(groups, [len(group) for group in groups])
        smaller = [place for place in group if child[place] < genes[place].up]
        larger = [place for place in group if child[place] > genes[place].low]
        if smaller and larger:
            down, up = random.choice(smaller), random.choice(larger)
            child[down], child[up] = child[down] + 1, child[up] - 1
    return child
