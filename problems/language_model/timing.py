"""Times what each level of each gene saves, in the whole model.

A block that runs alone in a loop keeps its weights in the processor's cache, which it cannot in a model. So all genes
of equal shapes take a level together, the whole model is timed in turn with the dense one, and what it saves is shared
out among the genes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy
from scipy.optimize import isotonic_regression
from tqdm import tqdm

from evoprune import InputError
from problems.language_model.speed import Load, timer
from problems.language_model.transform import ATTENTION, PARAMETERS, WEIGHTS, Transform

TIMED = 8
"""How many levels of a gene are timed at most; the last one, which may drop the sublayer, is timed besides."""

SECONDS = 8.0
"""How long a level is timed in turn with the dense model, if three rounds do not take longer."""

_TURN = 0.25
"""Seconds of one turn, if a pass does not take longer."""

Run = Callable[[], float]
Genome = list[float]


def savings(transform: Transform, load: Load) -> tuple[float, list[list[float]]]:
    """The milliseconds of a pass of the dense model, and what each level of each gene changes them by, at most 0.

    Shares of the dense model's time are taken within a round, as other work on the machine slows both models down.
    Levels between timed ones are interpolated by their weights. As times are noisy, each table is made to fall, at the
    least squared error. Where the model of all last levels saves less than these do together, all are scaled down to
    that. The resident model, which must be dense, is so afterwards. Raises :class:`evoprune.InputError` as
    :func:`alike` does, and for more tokens than positions.
    """
    classes = alike(transform)
    weights: Any = transform.prices(WEIGHTS)[0]
    bare, counts = transform.bare(), [len(gene.levels) for gene in transform.genes]
    jobs = [(genes, level) for genes in classes for level in timed_levels(counts[genes[0]])]
    genomes = [[float(level) if place in genes else 0.0 for place in range(len(counts))] for genes, level in jobs]
    genomes.append([count - 1.0 for count in counts])  # the fastest
    run, dense, shares = start(bare, bare.dense, load), [], []
    with _bar(f"timing {load.phase}") as bar:
        for number, genome in enumerate(genomes, 1):
            bar.desc = f"timing {load.phase}, {number} of {len(genomes)} models"
            ours = start(bare, genome, load)
            pairs = list(in_turn(bare, [(bare.dense, run), (genome, ours)], SECONDS, bar.update))
            dense += [before for before, _ in pairs]
            shares.append(median(after / before for before, after in pairs) - 1)
    bare.apply(bare.dense)
    tables = numpy.zeros((len(counts), max(counts)))
    for genes in classes:
        levels = timed_levels(counts[genes[0]])
        found = [share / len(genes) for share, (of, _) in zip(shares, jobs, strict=False) if of is genes]
        falling = numpy.minimum(isotonic_regression(found, increasing=False).x, 0.0)
        lost = [weights[genes[0]][0] - weight for weight in weights[genes[0]]]
        at = [0.0, *(lost[level] for level in levels)]
        tables[genes, : len(lost)] = numpy.interp(lost, at, [0.0, *falling])
    together = -tables.min(1).sum()
    scale = min(1.0, max(0.0, -shares[-1]) / together) if together else 0.0
    milliseconds = tables * scale * median(dense)
    return median(dense), [row[:count].tolist() for row, count in zip(milliseconds, counts, strict=True)]


def alike(transform: Transform) -> list[list[int]]:
    """The free genes, those together whose levels leave the same weights, parameters and attention.

    Raises :class:`evoprune.InputError` for a transform whose genes have no levels, the first of which is dense.
    """
    prices = [transform.prices(unit)[0] for unit in (WEIGHTS, PARAMETERS, ATTENTION)]
    classes: dict[str, list[int]] = {}
    for place in transform.genes.free:
        gene = transform.genes[place]
        if not gene.levels or transform.dense[place]:
            raise InputError(f"gene '{gene.name}' has no levels, from dense on, that could be timed", "problem.budget")
        classes.setdefault(repr([gene.levels, *(unit[place] for unit in prices)]), []).append(place)
    return list(classes.values())


def timed_levels(count: int) -> list[int]:
    """Which of ``count`` levels are timed: some evenly apart, the last but one, and the last. Level 0 is dense."""
    apart = numpy.linspace(0, count - 2, min(TIMED, count - 2) + 1).round()[1:].astype(int)
    return [*apart.tolist(), count - 1]


def compared(transform: Transform, genome: Sequence[float], load: Load, seconds: float) -> tuple[float, float]:
    """The milliseconds of a pass of the dense model and of that of ``genome``, timed in turn."""
    genomes = [transform.dense, list(genome)]
    both = [(each, start(transform, each, load)) for each in genomes]
    with _bar(f"timing {load.phase}, dense and evolved") as bar:
        rounds = list(in_turn(transform, both, seconds, bar.update))
    dense, other = (median(times) for times in zip(*rounds, strict=True))
    return dense, other


def start(transform: Transform, genome: Genome, load: Load) -> Run:
    """A function that runs a pass of the model of ``genome`` while that is resident.

    Raises :class:`evoprune.InputError` if the model has too few positions.
    """
    transform.apply(genome)
    try:
        return timer(transform.resident.model, load)
    except ValueError as error:
        raise InputError(str(error), "problem.budget.length") from None


def in_turn(
    transform: Transform, runs: Sequence[tuple[Genome, Run]], seconds: float, tick: Callable[[], Any]
) -> Iterator[list[float]]:
    """For each round the milliseconds of each genome's passes, median of a turn. At least three rounds.

    ``tick`` is called after each turn. The first pass of a turn, where it is not the only one, warms up.
    """
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 3 or time.perf_counter() < end:
        found = []
        for genome, run in runs:
            transform.apply(genome)
            turn, passes = time.perf_counter() + _TURN, [run()]
            while time.perf_counter() < turn:
                passes.append(run())
            found.append(median(passes[1:] or passes))
            tick()
        yield found
        rounds += 1


@contextmanager
def _bar(what: str) -> Iterator[Any]:
    """Counts turns on standard error: every few seconds where that is no terminal."""
    with tqdm(
        desc=what, unit=" turns", leave=False, mininterval=0.1 if sys.stderr.isatty() else 4.0, miniters=1
    ) as bar:
        yield bar
