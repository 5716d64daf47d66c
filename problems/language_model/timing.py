"""Times what each level of each gene saves, in the whole model.

A block that runs alone in a loop keeps its weights in the processor's cache, which it cannot in a model. So all genes
that are alike and have a level, or some of them, take it together, the whole model is timed in turn with the dense one,
and what it saves is shared out among these genes by their sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy
from scipy.optimize import isotonic_regression

from evoprune import Coupled, Phase, steps
from problems.language_model.speed import Load
from problems.language_model.transform import Transform

_PASSES = 3
"""How often all models are timed, one after the other: other work slows some kinds of computing more than others."""

TIMED = 8
"""How many levels of a gene are timed at most; the last one, which may drop the sublayer, is timed besides."""


def savings(transform: Transform, load: Load, seconds: float) -> tuple[float, list[list[float]]]:
    """The milliseconds of a pass of the dense model, and what each level of each gene changes them by, at most 0.

    A level is timed for ``seconds`` in turn with the dense model, or for some rounds if they take longer.
    Shares of the dense model's time are taken within a round, as other work on the machine slows both models down.
    Levels between timed ones are interpolated by their sizes. As times are noisy, each table is made to fall, at the
    least squared error. Where the model of all last levels that were timed saves less than these do together, all are
    scaled down to that. The resident model, which must be dense, is so afterwards. Raises
    :class:`evoprune.InputError` as :class:`problems.language_model.clock.Clock` does.
    """
    bare = transform.bare()
    clock = bare.clock(load)
    classes, sizes = clock.alike(), clock.sizes()
    levels = [gene.levels for gene in bare.genes]
    jobs = [
        (level, [gene for gene in genes if level in levels[gene]])
        for genes in classes
        for level in dict.fromkeys(levels[gene][at] for gene in genes for at in timed_levels(len(levels[gene])))
    ]
    timed = [(level, clock.together(genes)) for level, genes in jobs]
    genomes = [
        [float(own.index(level)) if gene in genes else 0.0 for gene, own in enumerate(levels)] for level, genes in timed
    ]
    genomes.append([max(values) for values in zip(*genomes, strict=True)])  # the fastest
    pairs: list[list[tuple[float, float]]] = [[] for _ in genomes]
    for turn in steps(range(_PASSES * len(genomes)), f"timing {load.phase}", "model"):
        pairs[turn % len(genomes)] += clock.rounds(genomes[turn % len(genomes)], seconds / _PASSES)
    bare.apply(bare.dense)
    dense = median(before for of_model in pairs for before, _ in of_model)
    shares = [median(after / before for before, after in of_model) - 1 for of_model in pairs]
    found: list[dict[Any, float]] = [{} for _ in levels]
    for (level, genes), (_, several), share in zip(jobs, timed, shares, strict=False):
        lost = {gene: sizes[gene][0] - sizes[gene][levels[gene].index(level)] for gene in genes}
        for gene in genes:
            found[gene][level] = share * lost[gene] / sum(lost[each] for each in several)
    rows = [_table(*each) for each in zip(levels, sizes, found, strict=True)]
    together = -Coupled(bare.genes, bare.time_terms(rows), None).spent(genomes[-1])
    scale = min(1.0, max(0.0, -shares[-1]) / together) if together else 0.0
    return dense, [[change * scale * dense for change in row] for row in rows]


def _table(levels: Sequence[Any], sizes: Sequence[float], found: Mapping[Any, float]) -> list[float]:
    """What each level changes, made to fall and interpolated by ``sizes`` from what is ``found`` of some levels."""
    at = [place for place, level in enumerate(levels) if level in found]
    if not at:
        return [0.0] * len(levels)
    falling = numpy.minimum(isotonic_regression([found[levels[place]] for place in at], increasing=False).x, 0.0)
    lost = [sizes[0] - size for size in sizes]
    table: list[float] = numpy.interp(lost, [0.0, *(lost[place] for place in at)], [0.0, *falling]).tolist()
    return table


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
