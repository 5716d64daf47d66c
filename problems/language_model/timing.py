"""Times what each level of each gene saves, in the whole model.

A block that runs alone in a loop keeps its weights in the processor's cache, which it cannot in a model. So all genes
that are alike, or some of them, take a level together, the whole model is timed in turn with the dense one, and what it
saves is shared out among these genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy
from scipy.optimize import isotonic_regression

from evoprune import Coupled, Phase, steps
from problems.language_model.speed import Load
from problems.language_model.transform import Transform

TIMED = 8
"""How many levels of a gene are timed at most; the last one, which may drop the sublayer, is timed besides."""


def savings(transform: Transform, load: Load, seconds: float) -> tuple[float, list[list[float]]]:
    """The milliseconds of a pass of the dense model, and what each level of each gene changes them by, at most 0.

    A level is timed for ``seconds`` in turn with the dense model, or for three rounds if they take longer.
    Shares of the dense model's time are taken within a round, as other work on the machine slows both models down.
    Levels between timed ones are interpolated by their sizes. As times are noisy, each table is made to fall, at the
    least squared error. Where the model of all last levels that were timed saves less than these do together, all are
    scaled down to that. The resident model, which must be dense, is so afterwards. Raises
    :class:`evoprune.InputError` as :class:`problems.language_model.clock.Clock` does.
    """
    bare = transform.bare()
    clock = bare.clock(load)
    classes, sizes = clock.alike(), clock.sizes()
    counts = [len(gene.levels) for gene in bare.genes]
    jobs = [(genes, level) for genes in classes for level in timed_levels(counts[genes[0]])]
    timed = [(clock.together(genes), level) for genes, level in jobs]
    genomes = [[float(level) if place in genes else 0.0 for place in range(len(counts))] for genes, level in timed]
    genomes.append([max(levels) for levels in zip(*genomes, strict=True)])  # the fastest
    dense, shares = [], []
    for genome in steps(genomes, f"timing {load.phase}", "model"):
        pairs = list(clock.rounds(genome, seconds))
        dense += [before for before, _ in pairs]
        shares.append(median(after / before for before, after in pairs) - 1)
    bare.apply(bare.dense)
    tables = numpy.zeros((len(counts), max(counts)))
    for genes in classes:
        levels = timed_levels(counts[genes[0]])
        several = len(clock.together(genes))
        found = [share / several for share, (of, _) in zip(shares, jobs, strict=False) if of is genes]
        falling = numpy.minimum(isotonic_regression(found, increasing=False).x, 0.0)
        own: Any = sizes[genes[0]]
        lost = [own[0] - size for size in own]
        at = [0.0, *(lost[level] for level in levels)]
        tables[genes, : len(lost)] = numpy.interp(lost, at, [0.0, *falling])
    rows = [row[:count].tolist() for row, count in zip(tables, counts, strict=True)]
    together = -Coupled(bare.genes, bare.time_terms(rows), None).spent(genomes[-1])
    scale = min(1.0, max(0.0, -shares[-1]) / together) if together else 0.0
    return median(dense), [[change * scale * median(dense) for change in row] for row in rows]


def timed_levels(count: int) -> list[int]:
    """Which of ``count`` levels are timed: some evenly apart, the last but one, and the last. Level 0 is dense."""
    apart = numpy.linspace(0, count - 2, min(TIMED, count - 2) + 1).round()[1:].astype(int)
    return [*apart.tolist(), count - 1]


def compared(transform: Transform, genome: Sequence[float], load: Load, seconds: float) -> tuple[float, float]:
    """The milliseconds of a pass of the dense model and of that of ``genome``, timed in turn."""
    with Phase(f"timing {load.phase}, dense and evolved"):
        rounds = list(transform.clock(load).rounds(genome, seconds))
    dense, other = (median(times) for times in zip(*rounds, strict=True))
    return dense, other
