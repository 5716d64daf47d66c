import random

import pytest

from problems.benchmark.problem import OPTIMA, Benchmark, BenchmarkSettings


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
    assert tried.bounds() == ([2.0] * 200, [3.0] * 200)
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
def test_the_target_of_a_repair_can_be_reached(settings, target):
    assert problem(**settings, dimensions=2).context() == {"weights": [1.0, 1.0], "target": target}
