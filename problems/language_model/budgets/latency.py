"""Measures the time that each level of each gene saves, in the whole model: alone, a block would stay in the cache.

All genes that are alike take a level together, the model is timed in turn with the dense one, and its saving is shared
out among the genes by their sizes.
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
from evoprune.problems.language_model.transforms.shapes import Shape, Shapes
from evoprune.problems.language_model.transforms.stack import Stack

_PASSES = 3  # rounds over all models, one after the other: other work slows some kinds of computing more than others
_SHORT = 1.0  # seconds of a round, at least: of fewer, processes would take most, and there is one round

_RARE = 0.1
"""A level that less than this share of a class can have is not timed: noise would be larger than its saving."""

TIMED = 8  # the most levels of a gene that are timed; the last one, which may drop the sublayer, is timed besides


def time_terms(transform: Stack, changes: Sequence[Sequence[float]]) -> list[Term]:
    """Return the milliseconds that genomes add to a pass of the dense model, at most 0; see :class:`evoprune.Coupled`.

    ``changes``: the milliseconds that each level of each gene alone adds, at most 0 and falling. Where genes cut the
    same parameters, the time of a parameter follows from size and type, and is at least 0.
    """
    if (shapes := transform.shapes) is None:
        return [Term((place,), numpy.array(table, dtype=float)) for place, table in enumerate(changes)]
    rates, kinds = _rates(shapes, changes), transform.kinds
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
    """Return the numbers that a token reads of a parameter, up to a factor: a stack of any experts counts as one."""
    return prod(shape[1:] if len(shape) > 2 and all(shape) else shape)


def _rates(shapes: Shapes, changes: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the milliseconds of one number of each parameter that genes cut, by name: a least-squares fit.

    Parameters that are cut by the same kinds of genes have one rate. Of several solutions, the nearest to one rate for
    all.
    """
    forms = [repr(shapes.changed(place)) for place in range(len(shapes.counts))]
    cut_by = {name: frozenset(forms[place] for place in cut) for name, cut in shapes.cuts.items() if cut}
    classes = list(dict.fromkeys(cut_by.values()))
    rows, saved = [], []
    for place, count in enumerate(shapes.counts):
        for level in range(1, count):
            lost = dict.fromkeys(classes, 0)
            for name, cut in cut_by.items():
                if at_levels := shapes.cuts[name].get(place):
                    lost[cut] += _read(at_levels[0]) - _read(at_levels[level])
            rows.append(list(lost.values()))
            saved.append(-changes[place][level])
    removed: Any = numpy.array(rows, dtype=float)
    every = removed.sum(1)
    common = every @ saved / (every @ every)
    apart = numpy.linalg.lstsq(removed, saved - common * every)[0]
    rates = dict(zip(classes, numpy.maximum(common + apart, 0.0).tolist(), strict=True))
    return {name: rates[cut] for name, cut in cut_by.items()}


def savings(bare: Stack, load: Load, seconds: float) -> tuple[float, list[list[float]]]:
    """Return the milliseconds of a pass of the dense model, and the change by each level of each gene, at most 0.

    ``bare``: see :meth:`evoprune.problems.language_model.transforms.transform.Transform.bare`; dense before and after.
    A level is timed in turn with the dense model for ``seconds``, in three rounds unless they are too short, and
    others are interpolated by their sizes. Times are made to fall with the level, at the least squared error. Where all
    fastest levels together save less than their sum, all are scaled down.
    """
    timer, levels = bare.timer(load), [gene.levels for gene in bare.genes]
    sizes = timer.sizes()
    jobs = _jobs(timer, levels, sizes)
    genomes = [
        [float(of_gene.index(job.level)) if gene in job.taking else 0.0 for gene, of_gene in enumerate(levels)]
        for job in jobs
    ]
    dense, shares = _times(timer, genomes, load, seconds)
    measured: list[dict[Any, float]] = [{} for _ in levels]
    for job, share in zip(jobs, shares, strict=True):
        lost = {gene: sizes[gene][0] - sizes[gene][levels[gene].index(job.level)] for gene in job.genes}
        whole = sum(lost[gene] for gene in job.taking)
        for gene in job.genes:
            measured[gene][job.level] = share * (lost[gene] / whole if whole else 1 / len(job.taking))
    falls = map(timer.falls, range(len(levels)))
    rows = [_table(*of_gene) for of_gene in zip(levels, sizes, measured, falls, strict=True)]
    taking = {gene for job in jobs for gene in job.taking}
    # the level that saves the most; of several the last, and dense where none saves anything
    fastest = [
        float(max(level for level, change in enumerate(row) if change == min(row)))
        if gene in taking and min(row) < 0
        else 0.0
        for gene, row in enumerate(rows)
    ]
    together = -Coupled(bare.genes, time_terms(bare, rows), None).spent(fastest)
    if not together:
        return dense, [[0.0] * len(row) for row in rows]
    _, (share,) = _times(timer, [fastest], load, seconds)
    scale = min(1.0, max(0.0, -share) / together)
    return dense, [[min(change, 0.0) * scale * dense for change in row] for row in rows]


class _Job(NamedTuple):
    """A level that is timed, the genes that it is timed for, and the ones among them that take it in the model."""

    level: Any
    genes: list[int]
    taking: list[int]


def _jobs(timer: Timer, levels: Sequence[Sequence[Any]], sizes: Sequence[Sequence[float]]) -> list[_Job]:
    """Return the levels that are timed of each class of genes that are alike, by ``levels`` and ``sizes`` of genes."""
    jobs, most = [], [of_gene[0] - of_gene[-1] for of_gene in sizes]
    for alike in timer.alike():
        places = timed_levels if timer.falls(alike[0]) else lambda count: list(range(1, count))
        for level in dict.fromkeys(levels[gene][at] for gene in alike for at in places(len(levels[gene]))):
            genes = [gene for gene in alike if level in levels[gene]]
            if sum(most[gene] for gene in genes) >= _RARE * sum(most[gene] for gene in alike):
                jobs.append(_Job(level, genes, timer.together(genes)))
    return jobs


def _times(timer: Timer, genomes: Sequence[list[float]], load: Load, seconds: float) -> tuple[float, list[float]]:
    """Return the milliseconds of the dense model's pass, and the share by which each of ``genomes`` takes longer."""
    pairs: list[list[tuple[float, float]]] = [[] for _ in genomes]
    passes = _PASSES if seconds >= _PASSES * _SHORT else 1
    for turn in steps(range(passes * len(genomes)), f"timing {load.phase}", "turn"):
        place = turn % len(genomes)
        pairs[place] += timer.rounds(genomes[place], seconds / passes)
    timer.transform.apply(timer.transform.dense)
    dense = median(before for of_model in pairs for before, _ in of_model)
    return dense, [median(after / before for before, after in of_model) - 1 for of_model in pairs]


def _table(levels: Sequence[Any], sizes: Sequence[float], measured: Mapping[Any, float], falls: bool) -> list[float]:
    """Return the change by each of ``levels``, from the ``measured`` ones."""
    if not falls:
        return [measured.get(level, 0.0) for level in levels]
    at = [place for place, level in enumerate(levels) if level in measured]
    if not at:
        return [0.0] * len(levels)
    falling = numpy.minimum(isotonic_regression([measured[levels[place]] for place in at], increasing=False).x, 0.0)
    lost = [sizes[0] - size for size in sizes]
    table: list[float] = numpy.interp(lost, [0.0, *(lost[place] for place in at)], [0.0, *falling]).tolist()
    return table


def timed_levels(count: int) -> list[int]:
    """Return the levels of ``count`` that are timed: some evenly apart, and the last two. Level 0 is dense."""
    apart = numpy.linspace(0, count - 2, min(TIMED, count - 2) + 1).round()[1:].astype(int)
    return [*apart.tolist(), count - 1]


def compared(transform: Stack, genome: Sequence[float], load: Load, seconds: float) -> tuple[float, float]:
    """Return the milliseconds of a pass of the dense model and of the model of ``genome``, timed in turn."""
    with Phase(f"timing {load.phase}, dense and evolved"):
        timer = transform.timer(load)
        rounds = [pair for _ in range(_PASSES) for pair in timer.rounds(genome, seconds / _PASSES)]
    dense, other = (median(times) for times in zip(*rounds, strict=True))
    return dense, other
