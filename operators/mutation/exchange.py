"""Mutation that moves equal numbers of weights from one gene to another."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from evoprune import Individual, Positive
from operators.bounds import clip_genes, free_genes


def exchange(
    individual: Individual,
    *,
    low: Sequence[float],
    up: Sequence[float],
    weights: Sequence[float],
    advice: Sequence[float] | None = None,
    step: Annotated[Positive, Field(description="largest move, as the change of a gene of average weight")] = 0.1,
    moves: Annotated[int, Field(ge=1, description="most moves in one mutation; few are likelier than many")] = 3,
    strength: Annotated[
        float, Field(ge=0, description="a gene one step further from its advice is e^strength times likelier to move")
    ] = 0.0,
) -> tuple[Individual]:
    """Raise one gene and lower another so that their weighted sum stays, once or a few times.

    The level switch of EvoPress (Sieberling et al., ICML 2025, section 3.2), for genes that
    govern any number of weights and for moves of any size up to ``step``: a budget that was
    kept before is kept after. The number of moves is the lesser of two draws, as there.

    With ``strength``, the gene to raise is likelier one that lies below ``advice``, a genome that
    something else recommends, and the one to lower one that lies above: genes are drawn by the
    softmax of that distance. Raises ValueError for a strength without advice, or with advice for
    another number of genes.
    """
    if strength and advice is None:
        raise ValueError(
            "strength needs advice, and the problem, as it is set up, gives none (pruning: name an "
            "allocation in problem.advice)"
        )
    if strength and advice is not None and len(advice) != len(individual):
        raise ValueError(f"advice: expected a value for each of {len(individual)} genes, got {len(advice)}")
    free = free_genes(low, up, weights)
    if len(free) < 2:
        return (individual,)
    average = sum(weights[gene] for gene in free) / len(free)
    for _ in range(min(random.randint(1, moves), random.randint(1, moves))):
        if strength and advice is not None:
            raised, lowered = _drawn(individual, free, advice, strength / step)
        else:
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


def _drawn(genes: Sequence[float], free: Sequence[int], advice: Sequence[float], pull: float) -> tuple[int, int]:
    """Two of ``free``, the first by how far it lies below its advice, the other by how far above.

    ``pull``: e-folds of probability for each 1 of distance.
    """
    above = {gene: pull * (genes[gene] - advice[gene]) for gene in free}
    least = min(above.values())
    (raised,) = random.choices(free, [math.exp(least - above[gene]) for gene in free])
    del above[raised]
    most = max(above.values())
    (lowered,) = random.choices([*above], [math.exp(distance - most) for distance in above.values()])
    return raised, lowered
