"""Mutation of genes with levels, one of them on average."""

import math
import random
from typing import Annotated

from pydantic import Field

from evoprune import Fraction, Gene, Genes, Individual
from evoprune.operators.moves import another_level


def levels(
    individual: Individual,
    *,
    genes: Genes,
    indpb: Annotated[
        Fraction | None, Field(description="probability of a change, for each gene; default: 1/genes")
    ] = None,
) -> tuple[Individual]:
    """Move some genes to another level; genes without levels keep their values.

    Without an order, all other levels are equally likely. With one, so are both directions, and a step of d levels is
    about d times as unlikely as one of a single level (Doerr, Doerr and Koetzing, "Static and self-adjusting mutation
    strengths for multi-valued decision variables", Algorithmica 80, 2018).
    """
    rate = 1 / len(genes) if indpb is None else indpb
    for place in genes.with_levels:
        if random.random() < rate and genes[place].free:
            individual[place] = _moved(genes[place], genes[place].nearest(individual[place]))
    return (individual,)


def _moved(gene: Gene, level: float) -> float:
    """Return another level of ``gene``, which is free."""
    if not gene.ordered:
        return another_level(gene, level, level)
    end = random.choice([end for end in (gene.low, gene.up) if end != level])
    reach = abs(end - level)
    step = min(float(int((reach + 1) ** random.random())), reach)  # rounding may reach beyond
    return level + math.copysign(step, end - level)
