"""Mutation that moves equal numbers of weights from one gene to another."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from evoprune import Individual, Positive
from operators.bounds import clip_genes


def exchange(
    individual: Individual,
    *,
    low: Sequence[float],
    up: Sequence[float],
    weights: Sequence[float],
    step: Annotated[Positive, Field(description="largest move, as the change of a gene of average weight")] = 0.1,
    moves: Annotated[int, Field(ge=1, description="most moves in one mutation; few are likelier than many")] = 3,
) -> tuple[Individual]:
    """Raise one gene and lower another so that their weighted sum stays, once or a few times.

    The level switch of EvoPress (Sieberling et al., ICML 2025, section 3.2), for genes that
    govern any number of weights and for moves of any size up to ``step``: a budget that was
    kept before is kept after. The number of moves is the lesser of two draws, as there.
    """
    free = [gene for gene, weight in enumerate(weights) if weight > 0 and low[gene] < up[gene]]
    if len(free) < 2:
        return (individual,)
    average = sum(weights[gene] for gene in free) / len(free)
    for _ in range(min(random.randint(1, moves), random.randint(1, moves))):
        raised, lowered = random.sample(free, 2)
        quantum = min(
            random.uniform(0, step) * average,
            (up[raised] - individual[raised]) * weights[raised],
            (individual[lowered] - low[lowered]) * weights[lowered],
        )
        quantum = max(0.0, quantum)  # a gene beyond its bounds moves no further
        individual[raised] += quantum / weights[raised]
        individual[lowered] -= quantum / weights[lowered]
    return (clip_genes(individual, low, up),)
