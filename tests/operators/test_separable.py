"""CMA-ES without covariances: as good along the axes as with them, in linear memory."""

import random

import numpy
import pytest
from deap import cma

from evoprune import Gene, Genes, Individual, Search
from evoprune.operators.quadratic import MAX_COLUMNS, Quadratic
from evoprune.operators.separable import Separable


def test_it_is_the_whole_strategy_where_there_is_one_gene(monkeypatch):
    numpy.random.seed(1)
    fast, whole = Separable([3.0], 0.5, 8), cma.Strategy([3.0], 0.5, lambda_=8)
    for _ in range(20):
        drawn = numpy.random.standard_normal((8, 1))
        monkeypatch.setattr(numpy.random, "standard_normal", lambda _, drawn=drawn: drawn)
        people = [strategy.generate(Individual) for strategy in (fast, whole)]
        monkeypatch.undo()
        assert people[0] == [pytest.approx(one) for one in people[1]]
        for strategy, bred in zip((fast, whole), people, strict=True):
            for individual in bred:
                individual.fitness.values = [individual[0] ** 2]
            strategy.update(bred)
        assert (fast.sigma, *fast.C) == pytest.approx((whole.sigma, *whole.C[0]))


def test_it_learns_the_scale_of_each_gene():
    numpy.random.seed(2)
    scales = numpy.logspace(-2, 2, 20)
    strategy = Separable([*scales], 0.3, 12)
    for _ in range(600):
        people = strategy.generate(Individual)
        for individual in people:
            individual.fitness.values = [float(((numpy.array(individual) / scales) ** 2).sum())]
        strategy.update(people)
    assert people[0].fitness.values[0] < 1e-6
    assert strategy.cond > 1e3


def test_many_genes_take_no_matrix_of_them(monkeypatch):
    monkeypatch.setattr(numpy.linalg, "eigh", lambda _: pytest.fail("a matrix"))
    search = Search([Gene(f"x{place}") for place in range(MAX_COLUMNS + 1)], algorithm="cma", population=4, seed=0)
    for _ in range(3):
        for genome in search.ask():
            search.tell(genome, sum(genome))
    assert search.generation >= 2


def test_many_genes_have_no_model():
    random.seed(0)
    for genes, fits in (
        (Genes.real([*map(str, range(MAX_COLUMNS))], 0, 1), True),
        (Genes([Gene.choice("x", range(MAX_COLUMNS + 1))]), False),
    ):
        people = [Individual(genes.random()) for _ in range(5)]
        for place, individual in enumerate(people):
            individual.fitness.values = [float(place)]
        assert (Quadratic.fit(genes, people) is not None) == fits
