"""Quadratic models, against ridge regression on written-out features, and against all genomes."""

from itertools import product

import numpy
import pytest

from evoprune import Gene, Genes, Individual
from evoprune.operators import quadratic
from evoprune.operators.quadratic import Quadratic

GENES = Genes([Gene("x", -2.0, 2.0), Gene.integer("n", 0, 4), Gene.choice("kind", "abc")])


def features(genome, origin, unit):
    """Columns whose products are the kernel: linear terms, products of two, squares."""
    columns = [[one[0] / 4, one[1] / 4, *(0.5 * (one[2] == kind) for kind in range(3))] for one in (genome, origin)]
    x = numpy.subtract(*columns) / unit
    pairs = [(quadratic._PAIRS / 2) ** 0.5 * a * b for a in x for b in x]
    return numpy.array([*x, *pairs, *(len(GENES) ** 0.5 * x[:2] ** 2)]), x


@pytest.mark.parametrize("evenly", [False, True])
def test_it_is_ridge_regression_on_all_products(evenly):
    draws = numpy.random.default_rng(0)
    points = numpy.array([[draws.uniform(-2, 2), draws.integers(5), draws.integers(3)] for _ in range(40)])
    values = numpy.exp(points[:, 0]) + points[:, 0] * points[:, 1] + (points[:, 2] == 1) * points[:, 1]
    origin = points[values.argmin()]
    others = [point for point in points if (point != origin).any()]
    y = values[values != values.min()] - values.min()
    unit = numpy.sqrt(numpy.mean([(features(point, origin, 1.0)[1] ** 2).sum() for point in others]))
    rows = numpy.array([features(point, origin, unit)[0] for point in others])
    noise = quadratic._MISFIT * (numpy.full(len(y), numpy.sqrt((y**2).mean())) if evenly else y)
    size = numpy.sqrt((y**2).mean())
    # The least sum of squares of (rows @ c - y) / noise and of c / size.
    system = numpy.vstack([rows / noise[:, None], numpy.eye(rows.shape[1]) / size])
    c = numpy.linalg.lstsq(system, numpy.concatenate([y / noise, numpy.zeros(rows.shape[1])]), rcond=None)[0]
    expected = [features(point, origin, unit)[0] @ c / size for point in points]
    assert Quadratic(GENES, points, values, evenly)(points) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_least_genome_of_separable_genes_is_the_least_of_all():
    inner = [Gene.of_levels(f"n {kind}", range(5), when=("kind", kind)) for kind in "abc"]
    genes = Genes([Gene.choice("other", "xyz"), Gene.integer("n", 0, 6), Gene.choice("kind", "abc"), *inner])
    every = {tuple(genes.nearest(genome)) for genome in product(*(range(len(gene.levels)) for gene in genes))}
    points = numpy.array(sorted(every))
    draws = numpy.random.default_rng(1)
    for _ in range(20):
        best, weights = draws.uniform(0, 6, 6), draws.uniform(0.1, 1, 6)
        values = ((points - best) ** 2 * weights) @ [0, 1, 0, 1, 1, 1]
        values += draws.uniform(0, 5, 3)[points[:, 0].astype(int)] + draws.uniform(0, 5, 3)[points[:, 2].astype(int)]
        some = draws.permutation(len(points))[:60]
        model = Quadratic(genes, points[some], values[some])
        start = points[some[values[some].argmin()]].tolist()
        assert model(numpy.array(model.minimise(start, numpy.full(6, 10.0)))) == pytest.approx(
            model(points).min(), abs=1e-9
        )


def test_it_stays_within_the_radius_and_the_bounds():
    genes = Genes.real("ab", -1.0, 1.0)
    points = numpy.array([[a, b] for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)])
    model = Quadratic(genes, points, points @ [1.0, -3.0])
    least = model.minimise([0.0, 0.5], numpy.array([0.25, 2.0]))
    assert repr(least) == "[-0.25, 1.0]"  # plain numbers, as a history holds


def test_constraints_that_are_violated_and_equal_values_allow_no_model():
    people = [Individual([place / 4, 1.0, 0.0]) for place in range(6)]
    for one in people:
        one.fitness.assign((1.0,), 0.0)
    assert Quadratic.fit(GENES, people) is None
    for one in people:
        one.fitness.assign((one[0],), 0.0)
    assert Quadratic.fit(GENES, people)
    people[0].fitness.assign((float("inf"),), 0.0)
    assert Quadratic.fit(GENES, people)
    people[1].fitness.assign((1.0,), 0.5)
    assert Quadratic.fit(GENES, people) is None
