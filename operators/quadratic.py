"""A quadratic surrogate model of scores."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Self

import numpy

from evoprune import Genes, Individual
from evoprune.operators.knapsack import Floats
from evoprune.operators.moves import clip

MAX_POINTS = 300
"""Most genomes of a fit: more are slower, and further away."""

MAX_COLUMNS = 1000
"""Most genes, and options without an order, of a model: its matrix has the square of their number."""

_PAIRS = 0.2  # prior variance of products of two genes; that of linear terms is 1, that of squares larger
_MISFIT = 0.03  # standard deviation of a value around the model, as a share of its distance from the least value
_LEAST = 1e-6  # least such distance, in units of the root mean square
_SWEEPS = 30  # most sweeps of coordinate descent over all genes
_END = 1e-9  # share of the whole descent that a sweep must gain, or it is the last one


class Quadratic:
    """A quadratic function of the genes, with an indicator for each option without an order.

    Kernel ridge regression that prefers linear terms and squares: a few genomes decide the separable part, products of
    genes follow (cf. Powell, "The NEWUOA software for unconstrained optimization without derivatives", 2006; Hansen,
    "A global surrogate assisted CMA-ES", GECCO 2019). ``points``: genomes, ``(count, genes)``; ``values``:
    ``(count,)``, not all the same; ``evenly``: fit all alike, and not the least values the closest.
    """

    def __init__(self, genes: Genes, points: Floats, values: Floats, evenly: bool = False) -> None:
        self._set_columns(genes)
        least = values.argmin()
        self._origin = self._encoded(points[least])
        units = numpy.where(self._ordered, numpy.array(genes.spans)[self._places], 2.0)
        x = (self._encoded(numpy.delete(points, least, 0)) - self._origin) / units
        unit = numpy.sqrt((x**2).sum(1).mean())
        x, units = x / unit, units * unit
        y = numpy.delete(values, least) - values[least]
        y /= y.max()
        y /= numpy.sqrt((y**2).mean())
        scale = numpy.ones(len(y)) if evenly else numpy.maximum(y, _LEAST)
        gram, squares = x @ x.T, x**2 * self._ordered
        kernel = (gram + _PAIRS / 2 * gram**2 + len(genes) * squares @ squares.T) / numpy.outer(scale, scale)
        kernel += numpy.diag(_MISFIT**2 + 1e-12 * kernel.diagonal())
        shares = numpy.linalg.solve(kernel, y / scale) / scale
        curves = _PAIRS * (x.T * shares) @ x + numpy.diag(2 * len(genes) * shares @ squares)
        self._slopes, self._curves = shares @ x / units, curves / numpy.outer(units, units)

    def _set_columns(self, genes: Genes) -> None:
        """Set the columns: one for a gene, or one for each option without an order."""
        self._genes = genes
        options = [[*range(len(gene.levels))] if not gene.ordered else [math.nan] for gene in genes]
        self._starts = numpy.cumsum([0, *map(len, options)])[:-1].tolist()
        self._places = numpy.repeat(numpy.arange(len(genes)), [*map(len, options)])
        self._options = numpy.concatenate(options)
        self._ordered = numpy.isnan(self._options)

    @classmethod
    def fit(
        cls, genes: Genes, individuals: Collection[Individual], objective: int = 0, evenly: bool = False
    ) -> Self | None:
        """Fit ``individuals`` that did not fail.

        None if some violate constraints, for fewer than 3 values, or more columns than :data:`MAX_COLUMNS`.
        """
        if sum(1 if gene.ordered else len(gene.levels) for gene in genes) > MAX_COLUMNS:
            return None
        scored = [individual for individual in individuals if individual.fitness.violation < math.inf]
        known = {individual.genome: -individual.fitness.wvalues[objective] for individual in scored}
        if len({*known.values()}) < 3 or any(individual.fitness.violation for individual in scored):
            return None
        return cls(genes, numpy.array([*known]), numpy.array([*known.values()]), evenly)

    def __call__(self, points: Floats) -> Floats:
        """Return the value of each of ``points`` relative to the best genome, in an arbitrary unit: ``(count,)``."""
        x = self._encoded(points) - self._origin
        values: Floats = x @ self._slopes + ((x @ self._curves) * x).sum(-1) / 2
        return values

    def _encoded(self, points: Floats) -> Floats:
        """Return ``points`` with an indicator for each option without an order: ``(..., columns)``."""
        columns = points[..., self._places]
        return numpy.where(self._ordered, columns, columns == self._options)

    def minimise(self, start: Sequence[float], radius: Floats) -> list[float]:
        """Return the genome with the least value, each ordered gene within ``radius``, or a level, of ``start``.

        Each level of a gene that activates others is one start of the descent. Genes inactive in ``start`` are free.
        """
        within = numpy.maximum(radius, [float(bool(gene.levels)) for gene in self._genes])
        within[[*self._genes.inactive(start)]] = math.inf
        low, up, starts = numpy.array(start) - within, numpy.array(start) + within, [[*start]]
        for place, level in dict.fromkeys(condition[1:] for condition in self._genes.conditions):
            starts.append([*start[:place], level, *start[place + 1 :]])
        found = [self._descend(genome, low, up) for genome in starts]
        return found[self(numpy.array(found)).argmin()]

    def _descend(self, genome: list[float], low: Floats, up: Floats) -> list[float]:
        """Minimise over one gene after the other between ``low`` and ``up``, ``(genes,)``: coordinate descent."""
        genes, curves = self._genes, self._curves
        fixed = genes.inactive(genome) | {decides for _, decides, _ in genes.conditions}
        slopes, total = self._slopes + curves @ (self._encoded(numpy.array(genome)) - self._origin), 0.0
        for _ in range(_SWEEPS):
            gained = 0.0
            for place in (place for place in genes.free if place not in fixed):
                gene, old, column = genes[place], genome[place], self._starts[place]
                if gene.ordered:
                    slope, curve = slopes[column], curves[column, column]
                    least, most = max(gene.low, low[place]), min(gene.up, up[place])
                    end = least if slope > curve * (old - (least + most) / 2) else most
                    new = gene.nearest(clip(old - slope / curve, least, most) if curve > 0 else end)
                    gain = -(new - old) * (slope + curve * (new - old) / 2)
                    change = curves[:, column] * (new - old)
                else:
                    options, before = slice(column, column + len(gene.levels)), column + int(old)
                    gains = slopes[before] - slopes[options] + curves[before, options]
                    gains -= (curves.diagonal()[options] + curves[before, before]) / 2
                    new, gain = float(gains.argmax()), gains.max()
                    change = curves[:, column + int(new)] - curves[:, before]
                if gain > 0:
                    genome[place], slopes, gained = new, slopes + change, gained + gain
            total += gained
            if gained <= _END * total:
                break
        return genes.nearest([*map(float, genome)])  # numpy's numbers are written otherwise
