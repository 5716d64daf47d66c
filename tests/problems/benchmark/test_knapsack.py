import itertools

import pytest

from evoprune.testing import check_problem
from problems.benchmark import Knapsack


@pytest.mark.parametrize("settings", [{}, {"items": 5, "copies": 3, "draw": 4}])
def test_it_keeps_the_laws_of_problems(settings):
    check_problem(Knapsack(Knapsack.Settings(**settings)))


@pytest.mark.parametrize("draw", range(8))
def test_the_reference_is_the_best_of_all_that_fits(draw):
    problem = Knapsack(Knapsack.Settings(items=5, copies=2, capacity=0.4, draw=draw))
    every = list(itertools.product(range(3), repeat=5))
    best = max(problem.evaluate(genome).values for genome in every if problem.budget.excess(genome) <= 0)
    optimum = problem.references()["optimum"]
    assert problem.budget.excess(optimum) <= 0
    assert problem.evaluate(optimum).values == best == max(problem.evaluate(genome).values for genome in every)


def test_the_greedy_prior_fits_and_cannot_beat_the_optimum():
    problem = Knapsack(Knapsack.Settings())
    assert problem.budget.excess(problem.prior()) <= 0
    assert problem.evaluate(problem.prior()).values <= problem.evaluate(problem.references()["optimum"]).values
