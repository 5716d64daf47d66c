"""A problem whose best allocation is known, and an engine of three lines."""

import math
import random
from itertools import islice

import numpy
import pytest
from deap import base

from evoprune import Additive, Evaluate, Generation, Genes, Individual
from evoprune.experiment import registry
from evoprune.operators.crossover.blend import blend
from evoprune.operators.mutation.exchange import exchange
from evoprune.operators.repair.shift import shift
from evoprune.operators.selection.truncation import truncation
from evoprune.operators.survival.elitist import elitist

GENES = 10
TARGET = 0.45
WEIGHTS = [1.0 + gene % 3 for gene in range(GENES)]
COSTS = [math.exp(0.3 * gene) for gene in range(GENES)]
RATE = 6.0
OF_GENES = [
    name
    for name in sorted(registry.operators("algorithm"))
    if "genes" in (registry.breeds("algorithm", name) or ["genes"])
]


def loss(genome) -> float:
    """A cost a gene that grows exponentially: like perplexity's logarithm, but with a known optimum."""
    return sum(w * c * math.exp(RATE * s) for w, c, s in zip(WEIGHTS, COSTS, genome, strict=True)) / sum(WEIGHTS)


def best_allocation() -> list[float]:
    """Where every marginal cost is the same, and the budget is kept (no bound is active)."""
    logs = [math.log(cost) for cost in COSTS]
    mean = sum(w * value for w, value in zip(WEIGHTS, logs, strict=True)) / sum(WEIGHTS)
    return [TARGET - (value - mean) / RATE for value in logs]


def space_of(genes=None):
    """``genes`` and ``budget``, as the engine supplies them: genes save their weights, and keep the mean TARGET."""
    genes = genes or Genes.real([str(gene) for gene in range(GENES)], 0.0, 0.9, scale=1.0)
    prices = [-weight for weight in WEIGHTS]
    return {"space": genes, "genes": genes, "budget": Additive.at_share(genes, prices, -TARGET, fixed=sum(WEIGHTS))}


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)
    numpy.random.seed(0)


def toolbox_of(genes, budget=None, weight=-1.0) -> base.Toolbox:
    """Random individuals, and a repair to ``budget`` or to the nearest genome: enough for most algorithms."""
    tools = base.Toolbox()
    tools.register("individual", lambda genome=None: Individual(genome or genes.random(), (weight,)))
    if budget:
        tools.register("repair", shift, genes=genes, budget=budget)
    else:
        tools.register("repair", lambda individual: (Individual(genes.nearest(individual), (weight,)),))
    return tools


@pytest.fixture
def toolbox() -> base.Toolbox:
    space = space_of()
    tools = base.Toolbox()
    tools.register(
        "individual", lambda genome=None: Individual(genome or [random.uniform(0.3, 0.6) for _ in range(GENES)])
    )
    tools.register("select", truncation, fraction=0.5)
    tools.register("mate", blend, alpha=0.5, low=space["genes"].low, up=space["genes"].up)
    own = {"genes": space["genes"], "budget": space["budget"]}
    tools.register("mutate", exchange, **own)
    tools.register("repair", shift, **own)
    tools.register("survive", elitist, fraction=0.5)
    return tools


def drive(algorithm, generations, score=lambda genome, fidelity: loss(genome)):
    """Answer the algorithm's requests; return the populations it ended ``generations`` with, and the requests."""
    requests, populations, number = [], [], 0

    def answered():
        nonlocal number
        for step in algorithm:
            if isinstance(step, Evaluate):
                requests.append(step)
                for individual in step.individuals:
                    values = score(individual, step.fidelity)
                    individual.fitness.values = values if isinstance(values, tuple) else (values,)
                    individual.ident = number
                    number += 1
            else:
                assert isinstance(step, Generation)
                populations.append([(list(one), one.fitness.values[0]) for one in step.population])
                yield step

    list(islice(answered(), generations))
    return populations, requests
