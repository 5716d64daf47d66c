"""Mutation of a permutation by one small change of the order."""

import random

from evoprune import Individual

_LONGEST = 3  # genes that move together


def rearrange(individual: Individual) -> tuple[Individual]:
    """Reverse a segment, swap two genes, or move up to three, perhaps reversed; each is as likely.

    Reversal suits tours (Croes, "A method for solving traveling-salesman problems", Operations Research 6, 1958),
    moves also sequences (Or, 1976), and swaps suit assignments.
    """
    size = len(individual)
    if size < 2:
        return (individual,)
    change = random.choice((_reverse, _swap, _move))
    change(individual, size)
    return (individual,)


def _reverse(individual: Individual, size: int) -> None:
    first, last = sorted(random.sample(range(size), 2))
    individual[first : last + 1] = individual[first : last + 1][::-1]


def _swap(individual: Individual, size: int) -> None:
    one, other = random.sample(range(size), 2)
    individual[one], individual[other] = individual[other], individual[one]


def _move(individual: Individual, size: int) -> None:
    length = min(random.randint(1, _LONGEST), size - 1)
    start, target = random.sample(range(size - length + 1), 2)
    segment = individual[start : start + length]
    del individual[start : start + length]
    individual[target:target] = random.choice((segment, segment[::-1]))
