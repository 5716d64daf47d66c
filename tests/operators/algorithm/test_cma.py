import random

import numpy
from deap import base

from evoprune import Individual
from evoprune.operators.algorithm.cma import cma
from evoprune.operators.repair.shift import shift
from evoprune.problems.benchmark import Knapsack, KnapsackSettings
from tests.operators.algorithm.conftest import drive


def test_genes_with_levels_are_searched():
    problem = Knapsack(KnapsackSettings(items=20, copies=1))
    random.seed(0)
    numpy.random.seed(0)
    tools = base.Toolbox()
    tools.register("individual", lambda: Individual(problem.genes.random(), (1.0,)))
    tools.register("repair", shift, genes=problem.genes, budget=problem.budget)
    score = lambda genome, _: problem.evaluate(genome).values[0]  # noqa: E731
    populations, _ = drive(cma(tools, population=12, initial_genomes=[], genes=problem.genes), 20, score)
    values = [max(value for _, value in population) for population in populations]
    assert len({tuple(genome) for population in populations for genome, _ in population}) > 20
    assert max(values) > values[0]
