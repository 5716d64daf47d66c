"""Measures the time that each level of each gene saves, in the whole model: a single block would stay in the cache.

All genes of a class take a level together, the model is timed in turn with the dense one, and its saving is divided
among the genes by their sizes.
"""

from collections.abc import Mapping, Sequence
from math import prod
from statistics import median
from typing import Any, NamedTuple

import numpy
from scipy.optimize import isotonic_regression

from evoprune import Coupled, Term
from evoprune.plugins import Progress, steps
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.transforms.latency import Timer
from evoprune.problems.language_model.transforms.shapes import Shape, Shapes
from evoprune.problems.language_model.transforms.stack import Stack

_ROUNDS = 3  # over all models in turn, since other work slows some kinds of computing more than others
_SHORTEST = 1.0  # seconds of a round; below it starting processes would dominate, and there is one round

_RARE = 0.1
"""A level that less than this share of a class can have is not timed: noise would exceed its saving."""

TIMED = 8  # levels of a gene that are timed, at most; the last level, which may drop the sublayer, is timed in addition


def latency_terms(transform: Stack, changes: Sequence[Sequence[float]]) -> list[Term]:
    """Return the change of a pass of the dense model by genomes, in ms, at most 0; see :class:`evoprune.Coupled`.

    ``changes``: the change by each level of each gene alone, in ms, at most 0 and not increasing. If genes prune the
    same parameters, the time of a parameter is estimated from its size and type, and is at least 0.
    """
    if (shapes := transform.costs.shapes) is None:
        return [Term((place,), numpy.array(table, dtype=float)) for place, table in enumerate(changes)]
    rates, kinds = _rates(shapes, changes), transform.costs.kinds
    by_type = {name: dict(zip(levels, changes[place], strict=True)) for name, (place, levels) in kinds.items()}

    def count(name: str, shape: Shape, kind: str | None) -> float:
        change = by_type[name][kind] if kind else 0.0
        if name not in rates:
            return change
        dense = _weights_read(shapes.dense[name])
        rate = max(0.0, rates[name] + change / dense) if dense else rates[name]
        return _weights_read(shape) * rate - dense * rates[name]

    return shapes.terms(count, kinds)


def _weights_read(shape: Shape) -> int:
    """Return the weights of a parameter that a token reads, up to a factor: a stack of experts counts as one."""
    return prod(shape[1:] if len(shape) > 2 and all(shape) else shape)


def _rates(shapes: Shapes, changes: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the milliseconds per weight of each parameter that genes prune, by name: a least-squares fit.

    Parameters that are pruned by the same kinds of genes have one rate. Of several solutions, the nearest to equal
    rates is taken.
    """
    forms = [repr(shapes.changed(place)) for place in range(len(shapes.counts))]
    cut_by = {name: frozenset(forms[place] for place in cut) for name, cut in shapes.cuts.items() if cut}
    classes = list(dict.fromkeys(cut_by.values()))
    rows, saved = [], []
    for place, count in enumerate(shapes.counts):
        for level in range(1, count):
            removed_by_class = dict.fromkeys(classes, 0)
            for name, cut in cut_by.items():
                if at_levels := shapes.cuts[name].get(place):
                    removed_by_class[cut] += _weights_read(at_levels[0]) - _weights_read(at_levels[level])
            rows.append(list(removed_by_class.values()))
            saved.append(-changes[place][level])
    removed: Any = numpy.array(rows, dtype=float)
    total = removed.sum(1)
    common = total @ saved / (total @ total)
    deviations = numpy.linalg.lstsq(removed, saved - common * total)[0]
    rates = dict(zip(classes, numpy.maximum(common + deviations, 0.0).tolist(), strict=True))
    return {name: rates[cut] for name, cut in cut_by.items()}


def measure_savings(bare: Stack, load: Load, seconds: float) -> tuple[float, list[list[float]]]:
    """Return the milliseconds of a pass of the dense model, and the change by each level of each gene, at most 0.

    ``bare``: see :meth:`evoprune.problems.language_model.transforms.transform.Transform.bare`; dense before and after.
    A level is timed in turn with the dense model for ``seconds``, in three rounds unless they are too short; other
    levels are interpolated by size. Isotonic regression makes the times decrease with the level. If all fastest levels
    together save less than their sum, all savings are scaled down.
    """
    timer, levels = bare.costs.timer(load), [gene.levels for gene in bare.genes]
    sizes = _sizes(bare, timer.unit)
    jobs = _jobs(timer, levels, sizes)
    genomes = [
        [float(of_gene.index(job.level)) if gene in job.changed else 0.0 for gene, of_gene in enumerate(levels)]
        for job in jobs
    ]
    dense, shares = _time(timer, genomes, load, seconds)
    measured: list[dict[Any, float]] = [{} for _ in levels]
    for job, share in zip(jobs, shares, strict=True):
        removed = {gene: sizes[gene][0] - sizes[gene][levels[gene].index(job.level)] for gene in job.genes}
        total = sum(removed[gene] for gene in job.changed)
        for gene in job.genes:
            measured[gene][job.level] = share * (removed[gene] / total if total else 1 / len(job.changed))
    monotone = map(timer.is_monotone, range(len(levels)))
    rows = [_interpolate(*of_gene) for of_gene in zip(levels, sizes, measured, monotone, strict=True)]
    timed = {gene for job in jobs for gene in job.changed}
    # the last of the levels that save the most; dense if no level saves anything
    fastest = [
        float(max(level for level, change in enumerate(row) if change == min(row)))
        if gene in timed and min(row) < 0
        else 0.0
        for gene, row in enumerate(rows)
    ]
    predicted = -Coupled(bare.genes, latency_terms(bare, rows), None).spent(fastest)
    if not predicted:
        return dense, [[0.0] * len(row) for row in rows]
    _, (share,) = _time(timer, [fastest], load, seconds)
    scale = min(1.0, max(0.0, -share) / predicted)
    return dense, [[min(change, 0.0) * scale * dense for change in row] for row in rows]


def _sizes(bare: Stack, unit: str) -> list[list[float]]:
    """Return the cost in ``unit`` that each level of each gene alone adds to the dense model's."""
    budget, dense = bare.costs.budget(unit, None), bare.dense
    return [
        [budget.price(dense, place, level) for level in range(len(gene.levels))]
        for place, gene in enumerate(bare.genes)
    ]


class _Job(NamedTuple):
    """A level to time for some genes; in the timed model, the genes ``changed`` take it."""

    level: Any
    genes: list[int]
    changed: list[int]


def _jobs(timer: Timer, levels: Sequence[Sequence[Any]], sizes: Sequence[Sequence[float]]) -> list[_Job]:
    """Return the levels to time for each class of genes, from the ``levels`` and ``sizes`` of genes."""
    jobs, most = [], [of_gene[0] - of_gene[-1] for of_gene in sizes]
    for members in timer.gene_classes():
        places = timed_levels if timer.is_monotone(members[0]) else lambda count: list(range(1, count))
        for level in dict.fromkeys(levels[gene][at] for gene in members for at in places(len(levels[gene]))):
            genes = [gene for gene in members if level in levels[gene]]
            if sum(most[gene] for gene in genes) >= _RARE * sum(most[gene] for gene in members):
                jobs.append(_Job(level, genes, timer.changed_together(genes)))
    return jobs


def _time(timer: Timer, genomes: Sequence[list[float]], load: Load, seconds: float) -> tuple[float, list[float]]:
    """Return the milliseconds of the dense model's pass, and the relative change by each of ``genomes``."""
    pairs: list[list[tuple[float, float]]] = [[] for _ in genomes]
    rounds = _ROUNDS if seconds >= _ROUNDS * _SHORTEST else 1
    for turn in steps(range(rounds * len(genomes)), f"timing {load.phase}", "turn"):
        place = turn % len(genomes)
        pairs[place] += timer.rounds(genomes[place], seconds / rounds)
    timer.model.apply(timer.model.dense)
    dense = median(before for of_model in pairs for before, _ in of_model)
    return dense, [median(after / before for before, after in of_model) - 1 for of_model in pairs]


def _interpolate(
    levels: Sequence[Any], sizes: Sequence[float], measured: Mapping[Any, float], monotone: bool
) -> list[float]:
    """Return the change by each of ``levels``: ``measured``, or interpolated if changes are ``monotone``, or 0."""
    if not monotone:
        return [measured.get(level, 0.0) for level in levels]
    at = [place for place, level in enumerate(levels) if level in measured]
    if not at:
        return [0.0] * len(levels)
    falling = numpy.minimum(isotonic_regression([measured[levels[place]] for place in at], increasing=False).x, 0.0)
    removed = [sizes[0] - size for size in sizes]
    table: list[float] = numpy.interp(removed, [0.0, *(removed[place] for place in at)], [0.0, *falling]).tolist()
    return table


def timed_levels(count: int) -> list[int]:
    """Return the levels of ``count`` that are timed: some at even distances, and the last two. Level 0 is dense."""
    even = numpy.linspace(0, count - 2, min(TIMED, count - 2) + 1).round()[1:].astype(int)
    return [*even.tolist(), count - 1]


def compare_latency(transform: Stack, genome: Sequence[float], load: Load, seconds: float) -> tuple[float, float]:
    """Return the milliseconds of a pass of the dense model and of the model of ``genome``, timed in turn."""
    with Progress(f"timing {load.phase}, dense and evolved"):
        timer = transform.costs.timer(load)
        rounds = [pair for _ in range(_ROUNDS) for pair in timer.rounds(genome, seconds / _ROUNDS)]
    dense, other = (median(times) for times in zip(*rounds, strict=True))
    return dense, other
