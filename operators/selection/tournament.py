"""Tournament selection."""

from collections.abc import Sequence
from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Individual


def tournament(
    individuals: Sequence[Individual],
    k: int,
    *,
    tournsize: Annotated[int, Field(ge=1, description="individuals in a tournament")] = 3,
) -> list[Individual]:
    """Each of k parents is the best of tournsize drawn at random (Goldberg and Deb, FOGA 1, 1991)."""
    return list(tools.selTournament(individuals, k, tournsize))
