import random
from itertools import islice, pairwise

import pytest
from deap import base, tools

from evoprune import Evaluate, Genes, Individual
from evoprune.operators.algorithm.nsga2 import nsga2

SETTINGS = {
    "mate_probability": 0.9, "mutate_probability": 1.0, "initial_genomes": [], "genes": Genes.real("x", -10.0, 10.0),
}  # fmt: skip


@pytest.fixture
def toolbox():
    """Schaffer's problem: squared distances from 0 and from 2; what lies between is not dominated."""
    tools_ = base.Toolbox()
    tools_.register("individual", lambda: Individual([random.uniform(-10, 10)], (-1.0, -1.0)))
    tools_.register("mate", tools.cxBlend, alpha=0.5)
    tools_.register("mutate", tools.mutGaussian, mu=0, sigma=0.3, indpb=1.0)
    tools_.register("repair", lambda individual: (individual,))
    return tools_


def populations(toolbox, **how):
    random.seed(1)
    for step in nsga2(toolbox, population=20, **how, **SETTINGS):
        if isinstance(step, Evaluate):
            for number, individual in enumerate(step.individuals):
                individual.ident = number
                individual.fitness.values = (individual[0] ** 2, (individual[0] - 2) ** 2)
        else:
            yield [individual[0] for individual in step.population]


def test_it_spreads_over_the_front(toolbox):
    last = sorted([*islice(populations(toolbox), 30)][-1])
    assert len(last) == 20
    assert -0.01 < last[0] < 0.2
    assert 1.8 < last[-1] < 2.01
    assert max(b - a for a, b in pairwise(last)) < 0.4


def test_models_find_the_front_in_fewer_generations(toolbox):
    dominated = [
        sum(not 0 <= value <= 2 for value in [*islice(populations(toolbox, pool=pool), 3)][-1]) for pool in (1, 10)
    ]
    assert dominated[1] < dominated[0] / 2


def test_the_best_of_a_larger_pool_are_scored_on_all_the_data(toolbox):
    random.seed(1)
    steps = nsga2(toolbox, population=8, pool=3, screening=0.5, **SETTINGS)

    def scored(step):
        for individual in step.individuals:
            individual.fitness.values = (individual[0] ** 2, (individual[0] - 2) ** 2)
        return step

    first, _, screened, chosen = scored(next(steps)), next(steps), scored(next(steps)), scored(next(steps))
    assert [len(step.individuals) for step in (first, screened, chosen)] == [8, 24, 8]
    assert [step.fidelity for step in (first, screened, chosen)] == [1, 0.5, 1]
    left = [one for one in screened.individuals if not any(one is other for other in chosen.individuals)]
    assert len(left) == 16
    assert not any(one.fitness.dominates(other.fitness) for one in left for other in chosen.individuals)
