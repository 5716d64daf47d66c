"""A quadratic model of scores with noise, and its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy

from evoprune import Genes
from evoprune.operators.knapsack import Floats
from evoprune.operators.quadratic import Quadratic

_PAIRS = 0.2  # prior variance of products; that of linear terms and squares is 1
_MOST_PAIRS = 500  # products of two columns; of more columns there are none
_CAUTION = 1  # power of the ratio in its prior, times two: without it, a model believes in slopes that are noise
_RIDGES = 10.0 ** numpy.arange(-10, 4.1, 0.5)  # ratios of the variances of noise and of the prior that are tried


class Regression(Quadratic):
    """Bayesian linear regression on the columns of :class:`Quadratic`, their squares and products.

    The ratio of noise and prior is that of the largest evidence (MacKay, "Bayesian interpolation", Neural Computation
    4, 1992). ``points``: genomes, ``(count, genes)``; ``values``: ``(count,)``, and ``samples``, the numbers of the
    samples that they were scored on, which may be of different difficulty, so that only values on one sample are
    compared; ``radius``: the distance from the ``centre``, ``(genes,)``, that is a unit. ``variance``: of the noise,
    and of the model's misfit.
    """

    def __init__(
        self, genes: Genes, points: Floats, values: Floats, samples: Floats, centre: Sequence[float], radius: Floats
    ) -> None:
        self._set_columns(genes)
        self._origin = self._encoded(numpy.array(centre))
        self._units = numpy.where(self._ordered, radius[self._places], 1.0)
        columns = len(self._places)
        self._pairs = numpy.triu_indices(columns if columns**2 < 2 * _MOST_PAIRS else 0, 1)
        terms = self._terms(points)
        counts = columns, self._ordered.sum(), len(self._pairs[0])
        scale = numpy.sqrt(numpy.repeat([1.0, 1.0, _PAIRS], counts))
        spread = values.std() or 1.0
        both = numpy.column_stack([terms * scale, values / spread])
        _, of_sample, sizes = numpy.unique(samples, return_inverse=True, return_counts=True)
        means = numpy.zeros((len(sizes), both.shape[1]))
        numpy.add.at(means, of_sample, both)
        both -= (means / sizes[:, None])[of_sample]
        x, y, free = both[:, :-1], both[:, -1], max(1, len(values) - len(sizes))
        roots, vectors = numpy.linalg.eigh(x.T @ x)
        roots = numpy.maximum(roots, 0.0)
        shares = vectors.T @ (x.T @ y)

        def evidence(ridge: float) -> tuple[float, float]:
            """Return the logarithm of the evidence, but for a constant, and the variance of the prior."""
            left = (y @ y - (shares**2 / (roots + ridge)).sum()) / ridge
            variance = max(left / free, 1e-300)
            others = numpy.log(roots + ridge).sum() + (free - len(roots) - _CAUTION) * math.log(ridge)
            return -(free * math.log(variance) + others), variance

        ridge = max(_RIDGES, key=lambda each: evidence(each)[0])
        noise = ridge * evidence(ridge)[1]
        self.variance = float(noise * spread**2)
        self._weights = spread * scale * (vectors @ (shares / (roots + ridge)))
        self._covariance = spread**2 * noise * (vectors / (roots + ridge)) @ vectors.T * numpy.outer(scale, scale)
        slopes, squares, products = numpy.split(self._weights, numpy.cumsum(counts)[:-1])
        curves = numpy.zeros((columns, columns))
        curves[self._pairs] = products
        curves += curves.T
        curves[self._ordered, self._ordered] = 2 * squares
        self._slopes, self._curves = slopes / self._units, curves / numpy.outer(self._units, self._units)

    def gain(self, start: Sequence[float], end: Sequence[float]) -> tuple[float, float]:
        """Return by how much ``end`` is less than ``start``, and the standard deviation of this."""
        before, after = self._terms(numpy.array([start, end]))
        change = after - before
        return float(-change @ self._weights), math.sqrt(max(0.0, change @ self._covariance @ change))

    def _terms(self, points: Floats) -> Floats:
        """Return the terms of the model at each of ``points``: ``(count, terms)``."""
        x = (self._encoded(points) - self._origin) / self._units
        first, second = self._pairs
        squares = x[:, self._ordered] ** 2 - 1 / 3  # of points spread evenly, with a mean of 0
        return numpy.hstack([x, squares, x[:, first] * x[:, second]])
