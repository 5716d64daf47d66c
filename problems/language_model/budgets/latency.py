"""Measures the time that each level of each gene saves, in the whole model: alone, a block would stay in the cache.

All genes that are alike take a level together, the model is timed in turn with the dense one, and what it saves is
shared out among these genes by their sizes.
"""

from collections.abc import Mapping, Sequence
from math import prod
from statistics import median
from typing import Any, NamedTuple

import numpy
from scipy.optimize import isotonic_regression

from evoprune import Coupled, Term
from evoprune.console.phase import Phase, steps
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.transforms.latency import Timer
from evoprune.problems.language_model.transforms.shapes import Kinds, Shape, Shapes
from evoprune.problems.language_model.transforms.stack import Stack


def time_terms(transform: Stack, changes: Sequence[Sequence[float]]) -> list[Term]:
    """The milliseconds that genomes add to a pass of the dense model; see :class:`evoprune.Coupled`.

    ``changes``: what each level of each gene alone changes them by, at most 0 and falling.
    """
    if transform.shapes is None:
        return [Term((place,), numpy.array(table, dtype=float)) for place, table in enumerate(changes)]
    return cut_times(transform.shapes, changes, transform.kinds)


def cut_times(shapes: Shapes, changes: Sequence[Sequence[float]], kinds: Kinds) -> list[Term]:
    """The milliseconds that genomes add to a pass of the dense model, at most 0 and falling with each level.

    ``changes``: first of the genes that cut to ``shapes``, then of those of ``kinds``, whose first level is dense. A
    parameter takes no less than nothing.
    """
    rates = _rates(shapes, changes)
    saved = {name: dict(zip(levels, changes[place], strict=True)) for name, (place, levels) in kinds.items()}

    def count(name: str, shape: Shape, kind: str | None) -> float:
        change = saved[name][kind] if kind else 0.0
        if name not in rates:
            return change
        whole = _read(shapes.dense[name])
        rate = max(0.0, rates[name] + change / whole) if whole else rates[name]
        return _read(shape) * rate - whole * rates[name]

    return shapes.terms(count, kinds)


def _read(shape: Shape) -> int:
    """The numbers that a token reads of a parameter, up to a factor: of a stack as many experts, whatever is left."""
    return prod(shape[1:] if len(shape) > 2 and all(shape) else shape)


def _rates(shapes: Shapes, changes: Sequence[Sequence[float]]) -> dict[str, float]:
    """The milliseconds of one number of each parameter that genes cut, by name: a least-squares fit to ``changes``.

    Parameters that are cut by the same kinds of genes have one rate. Of several solutions, the nearest to one rate for
    all.
    """
    forms = [repr(shapes.changed(place)) for place in range(len(shapes.counts))]
    cut_by = {name: frozenset(forms[place] for place in own) for name, own in shapes.cuts.items() if own}
    classes = list(dict.fromkeys(cut_by.values()))
    rows, saved = [], []
    for place, count in enumerate(shapes.counts):
        for level in range(1, count):
            lost = dict.fromkeys(classes, 0)
            for name, cut in cut_by.items():
                if place in shapes.cuts[name]:
                    own = shapes.cuts[name][place]
                    lost[cut] += _read(own[0]) - _read(own[level])
            rows.append(list(lost.values()))
            saved.append(-changes[place][level])
    removed: Any = numpy.array(rows, dtype=float)
    every = removed.sum(1)
    common = every @ saved / (every @ every)
    own_rates = numpy.linalg.lstsq(removed, saved - common * every)[0]
    rates = dict(zip(classes, numpy.maximum(common + own_rates, 0.0).tolist(), strict=True))
    return {name: rates[cut] for name, cut in cut_by.items()}


_PASSES = 3  # rounds over all models, one after the other: other work slows some kinds of computing more than others
_SHORT = 1.0  # seconds of a round, at least: of fewer, processes would take most, and there is one round

_RARE = 0.1
"""A level that less than this share of a class can have is not timed: noise would be larger than what it saves."""

TIMED = 8  # the most levels of a gene that are timed; the last one, which may drop the sublayer, is timed besides


def savings(bare: Stack, load: Load, seconds: float) -> tuple[float, list[list[float]]]:
    """The milliseconds of a pass of the dense model, and what each level of each gene changes them by, at most 0.

    ``bare``: see :meth:`evoprune.problems.language_model.transforms.transform.Transform.bare`; dense before and after.
    A level is timed in turn with the dense model for ``seconds``, in three rounds where these are not too short, and
    others are interpolated by their sizes. Times are made to fall with the level, at the least squared error. Where all
    fastest levels together save less than their sum, all are scaled down.
    """
    timer, levels = bare.timer(load), [gene.levels for gene in bare.genes]
    sizes = timer.sizes()
    jobs = _jobs(timer, levels, sizes)
    genomes = [
        [float(own.index(job.level)) if gene in job.taking else 0.0 for gene, own in enumerate(levels)] for job in jobs
    ]
    dense, shares = _times(timer, genomes, load, seconds)
    found: list[dict[Any, float]] = [{} for _ in levels]
    for job, share in zip(jobs, shares, strict=True):
        lost = {gene: sizes[gene][0] - sizes[gene][levels[gene].index(job.level)] for gene in job.genes}
        whole = sum(lost[gene] for gene in job.taking)
        for gene in job.genes:
            found[gene][job.level] = share * (lost[gene] / whole if whole else 1 / len(job.taking))
    falls = map(timer.falls, range(len(levels)))
    rows = [_table(*each) for each in zip(levels, sizes, found, falls, strict=True)]
    taking = {gene for job in jobs for gene in job.taking}
    fastest = [_fastest(row) if gene in taking else 0.0 for gene, row in enumerate(rows)]
    together = -Coupled(bare.genes, time_terms(bare, rows), None).spent(fastest)
    if not together:
        return dense, [[0.0] * len(row) for row in rows]
    _, (share,) = _times(timer, [fastest], load, seconds)
    scale = min(1.0, max(0.0, -share) / together)
    return dense, [[min(change, 0.0) * scale * dense for change in row] for row in rows]


class _Job(NamedTuple):
    """A level that is timed, the genes that it is timed for, and those of them that take it in the model."""

    level: Any
    genes: list[int]
    taking: list[int]


def _jobs(timer: Timer, levels: Sequence[Sequence[Any]], sizes: Sequence[Sequence[float]]) -> list[_Job]:
    """The levels that are timed of each class of genes that are alike. ``levels`` and ``sizes``: of each gene."""
    jobs = []
    for alike in timer.alike():
        places = timed_levels if timer.falls(alike[0]) else lambda count: list(range(1, count))
        timed = (levels[gene][at] for gene in alike for at in places(len(levels[gene])))
        most = sum(_most(sizes[gene]) for gene in alike)
        for level in dict.fromkeys(timed):
            genes = [gene for gene in alike if level in levels[gene]]
            if sum(_most(sizes[gene]) for gene in genes) >= _RARE * most:
                jobs.append(_Job(level, genes, timer.together(genes)))
    return jobs


def _most(sizes: Sequence[float]) -> float:
    return sizes[0] - sizes[-1]


def _times(timer: Timer, genomes: Sequence[list[float]], load: Load, seconds: float) -> tuple[float, list[float]]:
    """The milliseconds of the dense model's pass, and the share of it by which each of ``genomes`` takes longer."""
    pairs: list[list[tuple[float, float]]] = [[] for _ in genomes]
    passes = _PASSES if seconds >= _PASSES * _SHORT else 1
    for turn in steps(range(passes * len(genomes)), f"timing {load.phase}", "turn"):
        place = turn % len(genomes)
        pairs[place] += timer.rounds(genomes[place], seconds / passes)
    timer.transform.apply(timer.transform.dense)
    dense = median(before for of_model in pairs for before, _ in of_model)
    return dense, [median(after / before for before, after in of_model) - 1 for of_model in pairs]


def _table(levels: Sequence[Any], sizes: Sequence[float], found: Mapping[Any, float], falls: bool) -> list[float]:
    if not falls:
        return [found.get(level, 0.0) for level in levels]
    at = [place for place, level in enumerate(levels) if level in found]
    if not at:
        return [0.0] * len(levels)
    falling = numpy.minimum(isotonic_regression([found[levels[place]] for place in at], increasing=False).x, 0.0)
    lost = [sizes[0] - size for size in sizes]
    table: list[float] = numpy.interp(lost, [0.0, *(lost[place] for place in at)], [0.0, *falling]).tolist()
    return table


def _fastest(row: Sequence[float]) -> float:
    """The level that saves the most; of several the last, and dense where none saves anything."""
    most = min(row)
    return float(max(level for level, change in enumerate(row) if change == most)) if most < 0 else 0.0


def timed_levels(count: int) -> list[int]:
    """The levels of ``count`` that are timed: some evenly apart, the last but one, and the last. Level 0 is dense."""
    apart = numpy.linspace(0, count - 2, min(TIMED, count - 2) + 1).round()[1:].astype(int)
    return [*apart.tolist(), count - 1]


def compared(transform: Stack, genome: Sequence[float], load: Load, seconds: float) -> tuple[float, float]:
    """The milliseconds of a pass of the dense model and of that of ``genome``, timed in turn."""
    with Phase(f"timing {load.phase}, dense and evolved"):
        timer = transform.timer(load)
        rounds = [pair for _ in range(_PASSES) for pair in timer.rounds(genome, seconds / _PASSES)]
    dense, other = (median(times) for times in zip(*rounds, strict=True))
    return dense, other
