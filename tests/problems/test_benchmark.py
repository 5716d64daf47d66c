import itertools
import random

import pytest

from evoprune.problems.benchmark import OPTIMA, Benchmark, BenchmarkSettings, Knapsack
from evoprune.testing import check_problem


def problem(**settings):
    return Benchmark(BenchmarkSettings(**settings))


@pytest.mark.parametrize("function", OPTIMA)
def test_the_reference_is_the_optimum(function):
    random.seed(1)
    tried = problem(function=function, dimensions=4)
    optimum = tried.evaluate(tried.references()["optimum"]).values[0]
    assert optimum == pytest.approx(0.0, abs=1e-12)
    assert all(tried.evaluate(tried.random_genome()).values[0] > optimum for _ in range(50))


def test_random_genomes_lie_within_the_bounds():
    random.seed(1)
    tried = problem(dimensions=200, low=2.0, up=3.0)
    assert (tried.genes.low, tried.genes.up) == ([2.0] * 200, [3.0] * 200)
    assert all(2.0 <= gene <= 3.0 for gene in tried.random_genome())


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({"function": "rosenbrock"}, 1.0),
        ({"mean": 0.5}, 0.5),
        ({"low": 1.0, "up": 2.0}, 1.0),
        ({"low": -2.0, "up": -1.0}, -1.0),
    ],
)
def test_the_budget_keeps_the_mean_at_the_target(settings, target):
    budget = problem(**settings, dimensions=2).budget
    budget.check_reachable()
    assert budget.kept([target, target])
    assert not budget.kept([target, target + 0.1])


@pytest.mark.parametrize("made", [problem(), Knapsack(Knapsack.Settings(items=5, copies=3, draw=4))])
def test_they_keep_the_laws_of_problems(made):
    check_problem(made)


@pytest.mark.parametrize("draw", range(8))
def test_the_reference_is_the_best_of_all_that_fits(draw):
    problem = Knapsack(Knapsack.Settings(items=5, copies=2, capacity=0.4, draw=draw))
    every = list(itertools.product(range(3), repeat=5))
    best = max(problem.evaluate(genome).values for genome in every if problem.budget.excess(genome) <= 0)
    optimum = problem.references()["optimum"]
    assert problem.budget.excess(optimum) <= 0
    assert problem.evaluate(optimum).values == best == max(problem.evaluate(genome).values for genome in every)
