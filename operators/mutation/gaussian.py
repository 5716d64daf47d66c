"""Gaussian mutation of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from deap import tools
from pydantic import Field

from evoprune import Fraction, Individual, Positive
from operators.bounds import clip, clip_genes


def gaussian(
    individual: Individual,
    *,
    low: Sequence[float],
    up: Sequence[float],
    sigma: Annotated[Positive, Field(description="standard deviation of a change")] = 0.05,
    limit: Annotated[Positive, Field(description="the largest change of a gene")] = 0.10,
    indpb: Annotated[Fraction, Field(description="probability of a change, for each gene")] = 0.3,
) -> tuple[Individual]:
    """Add normal noise to some genes, none by more than limit (0.10 in the ESILV report, 2025).

    ``sigma`` and ``limit`` are in the gene's own unit. Repair may move a gene further.
    """
    before = list(individual)
    (individual,) = tools.mutGaussian(individual, 0.0, sigma, indpb)
    individual[:] = [clip(gene, old - limit, old + limit) for gene, old in zip(individual, before, strict=True)]
    return (clip_genes(individual, low, up),)
