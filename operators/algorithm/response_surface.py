"""Search on a quadratic model of scores with noise, in the largest region where the model holds."""

import math
import random
from collections.abc import Generator, Sequence
from itertools import count
from statistics import variance

import numpy
from deap import base

from evoprune import Algorithm, Evaluate, Generation, Genes, Individual
from evoprune.operators.algorithm.breeding import Genomes, cost, first_population, repaired
from evoprune.operators.knapsack import Floats
from evoprune.operators.regression import Regression

_POINTS = 2000  # latest genomes of a model; more are slower
_ALL = 0.5  # reach of a region that is the whole space, as a share of ranges
_SHRUNK, _GROWN = 0.8, 1.1
_LAST = 25  # fewest generations after a descent's smallest region
_KEPT = 3  # centres of former descents
_EDGE = 0.9  # of the way to the region's edge: a step beyond it asks for a larger region
_MISFIT = 1.5  # standard errors by which the model's misfit exceeds the noise before the region shrinks
_FEWEST = 30  # estimates of the noise that count, if there are so many
_FIRST_PAIRS, _PAIRS = 5, 2  # genomes of a generation that are scored again, until then and later


def response_surface(toolbox: base.Toolbox, *, population: int, initial_genomes: Genomes, genes: Genes) -> Algorithm:
    """Response surface methodology (Box and Wilson, 1951) with a Bayesian model, a trust region and restarts.

    ::

        for each descent, half as fast as the one before:
            centre = the first initial genome, or the middle; region = all
            until the region has not been smaller for as long as it took to become so small:
                score genomes drawn evenly from the region, and some of the last generation again, for the noise
                fit a quadratic model to all scores of this descent in twice the region
                centre = the step towards the model's minimum with the largest gain, less its standard error
                shrink the region if the model misses more than the noise; enlarge it after a step to its edge, or none

    The centre is recommended: many scores far around it estimate it better than repeated scores of one genome. A slower
    descent has more scores in each region, so that it averages over more local minima (cf. the restarts of :func:`cma`
    with larger populations). The best centres of former descents are scored in each generation, and recommended first.
    """
    centres: list[Individual] = []
    pairs: list[float] = []
    for descent in count():
        starts = () if descent else initial_genomes
        centre = yield from _descent(toolbox, population, starts, genes, centres, pairs, 0.5**descent)
        centres = [*sorted(centres, key=cost)[: _KEPT - 1], centre]


def _descent(
    toolbox: base.Toolbox,
    population: int,
    initial_genomes: Genomes,
    genes: Genes,
    centres: Sequence[Individual],
    pairs: list[float],
    pace: float,
) -> Generator[Evaluate | Generation, None, Individual]:
    """Search until the region stays as it is; return its centre.

    ``centres``: of former descents; ``pairs``: estimates of the noise by two scores of a genome, to which it adds;
    ``pace``: power of the factors of a region.
    """
    middle = genes.nearest([(gene.low + gene.up) / 2 for gene in genes])
    centre = [*initial_genomes[0]] if initial_genomes else middle
    spans, least = numpy.array(genes.spans), numpy.array([float(bool(gene.levels)) for gene in genes])
    ordered = [place for place in genes.free if genes[place].ordered]
    reach = smallest = _ALL
    settled = 0  # generation in which the region became the smallest
    points, costs, samples = numpy.empty((0, len(genes))), numpy.empty(0), numpy.empty(0)
    again: list[Individual] = []
    for generation in count():
        radius = numpy.maximum(reach * spans, least)
        people = [
            repaired(toolbox, toolbox.individual(genes.nearest(_drawn(genes, centre, radius, reach))))
            for _ in range(population)
        ]
        if not generation and initial_genomes:
            people = first_population(toolbox, population, initial_genomes)
        before = [cost(one) for one in again]
        yield Evaluate([*people, *again, *centres])
        changes = [2 * (first - cost(one)) for first, one in zip(before, again, strict=True)]  # it has the mean
        changes = [change for change in changes if math.isfinite(change)]
        if len(changes) > 1:  # samples may differ, so that all change
            pairs += [variance(changes) / 2] * (len(changes) - 1)
        sound = [one for one in people if math.isfinite(cost(one)) and not one.fitness.violation]
        points = numpy.vstack([points, numpy.array(sound).reshape(-1, len(genes))])
        costs = numpy.append(costs, [cost(one) for one in sound])
        samples = numpy.append(samples, [generation] * len(sound))
        away = (abs(points - centre) / radius)[:, ordered].max(1, initial=0)
        near = numpy.flatnonzero(away <= 2)[-_POINTS:]
        if len(near) > 2 * len(genes):
            model = Regression(genes, points[near], costs[near], samples[near], centre, radius)
            step = model.minimise(centre, radius)
            ways = [centre, *(_between(genes, centre, step, share / 10) for share in range(1, 11))]
            gains = [model.gain(centre, way) for way in ways]
            best = max(range(len(ways)), key=lambda place: gains[place][0] - gains[place][1])
            moved = (abs(numpy.subtract(ways[best], centre)) / radius).max()
            centre = ways[best]
            few = pairs[-max(_FEWEST, len(pairs) // 2) :]
            noise = sum(few) / max(1, len(few)) * (1 + _MISFIT * math.sqrt(2 / max(1, len(few))))
            if moved >= _EDGE or (moved == 0 and model.variance <= noise):
                reach = min(_ALL, _GROWN**pace * reach)
            elif model.variance > noise:
                reach *= _SHRUNK**pace
        if reach < smallest or reach >= _ALL:
            smallest, settled = reach, generation
        recommended = repaired(toolbox, toolbox.individual(centre))
        yield Generation(people, [*sorted(centres, key=cost), recommended])
        if smallest < _ALL and generation - settled >= max(_LAST, settled):
            break
        again = random.sample(sound, min(_PAIRS if len(pairs) >= _FEWEST else _FIRST_PAIRS, len(sound)))
    return recommended


def _drawn(genes: Genes, centre: Sequence[float], radius: Floats, reach: float) -> list[float]:
    """Draw a genome evenly from the region; a gene without an order keeps its level more often in a small one."""
    drawn = [*centre]
    for place in genes.free:
        gene = genes[place]
        if gene.ordered:
            low, up = centre[place] - radius[place], centre[place] + radius[place]
            drawn[place] = random.uniform(max(gene.low, low), min(gene.up, up))
        elif random.random() < max(2 * reach, 1 / len(genes)):
            drawn[place] = float(random.randrange(len(gene.levels)))
    return drawn


def _between(genes: Genes, start: Sequence[float], end: Sequence[float], share: float) -> list[float]:
    """Return the genome a ``share`` of the way from ``start``, with the options of ``end``."""
    mixed = [one + share * (other - one) for one, other in zip(start, end, strict=True)]
    for place in genes.unordered:
        mixed[place] = end[place]
    return genes.nearest(mixed)
