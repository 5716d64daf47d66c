"""Crossover of genomes of several parts."""

from typing import Annotated, Any

from pydantic import Field

from evoprune import Individual


def parts(
    first: Individual,
    second: Individual,
    *,
    of_parts: Annotated[dict[str, Any] | None, Field(description="crossovers by part; default: of its space")] = None,
) -> tuple[Individual, Individual]:
    """Cross each part by its operator: ``Mixed`` makes them of the choices."""
    for place, mate in enumerate((of_parts or {}).values()):
        first[place], second[place] = mate(first[place], second[place])
    return first, second
