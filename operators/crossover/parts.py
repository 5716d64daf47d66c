"""Crossover of genomes of several parts."""

from collections.abc import Callable, Mapping, Sequence

from evoprune import Individual


def parts(
    first: Individual,
    second: Individual,
    *,
    of_parts: Mapping[str, Sequence[Callable[..., tuple[Individual, Individual]]]],
) -> tuple[Individual, Individual]:
    """Cross each part by the operator of its space."""
    for place, mate in enumerate(of_parts["mate"]):
        first[place], second[place] = mate(first[place], second[place])
    return first, second
