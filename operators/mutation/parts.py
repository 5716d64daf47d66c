"""Mutation of genomes of several parts."""

import random
from typing import Annotated, Any

from pydantic import Field

from evoprune import Individual


def parts(
    individual: Individual,
    *,
    of_parts: Annotated[dict[str, Any] | None, Field(description="mutations by part; default: of its space")] = None,
) -> tuple[Individual]:
    """Change one part, drawn at random, by its operator: ``Mixed`` makes them of the choices."""
    mutations = [*(of_parts or {}).values()]
    place = random.randrange(len(mutations))
    (individual[place],) = mutations[place](individual[place])
    return (individual,)
