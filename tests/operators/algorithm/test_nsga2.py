import random
from itertools import pairwise

import pytest
from deap import base, tools

from evoprune import Genes, Individual
from evoprune.operators.algorithm.nsga2 import nsga2
from tests.operators.algorithm.conftest import drive

SETTINGS = {
    "mate_probability": 0.9, "mutate_probability": 1.0, "initial_genomes": [], "space": Genes.real("x", -10.0, 10.0),
}  # fmt: skip


@pytest.fixture
def toolbox():
    """Schaffer's problem: squared distances from 0 and from 2; what lies between is not dominated."""
    tools_ = base.Toolbox()
    tools_.register("individual", lambda genome=None: Individual(genome or [random.uniform(-10, 10)], (-1.0, -1.0)))
    tools_.register("mate", tools.cxBlend, alpha=0.5)
    tools_.register("mutate", tools.mutGaussian, mu=0, sigma=0.3, indpb=1.0)
    tools_.register("repair", lambda individual: (individual,))
    return tools_


def schaffer(genome, _=1.0):
    return genome[0] ** 2, (genome[0] - 2) ** 2


def last_population(toolbox, generations, **how):
    random.seed(1)
    populations, _ = drive(nsga2(toolbox, population=20, **how, **SETTINGS), generations, schaffer)
    return sorted(genome[0] for genome, _ in populations[-1])


def test_it_spreads_over_the_front(toolbox):
    last = last_population(toolbox, 30)
    assert len(last) == 20
    assert -0.01 < last[0] < 0.2
    assert 1.8 < last[-1] < 2.01
    assert max(b - a for a, b in pairwise(last)) < 0.4


def test_models_find_the_front_in_fewer_generations(toolbox):
    dominated = [sum(not 0 <= gene <= 2 for gene in last_population(toolbox, 3, pool=pool)) for pool in (1, 10)]
    assert dominated[1] < dominated[0] / 2
