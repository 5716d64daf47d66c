"""Steps are shares of the genes' ranges: a search in other units is the same one."""

import random

import numpy
import pytest
from deap import base

from evoprune import Additive, Gene, Genes, Individual, Search
from evoprune.experiment import registry
from evoprune.testing.operators import _bound
from tests.operators.algorithm.conftest import OF_GENES, drive

LOW, UP = -1e3, 1e6
PRICES = [-1.1, -2.3, 3.7, -0.53]
EXACT = {
    "greedy": (0.0, 2.0**20),
    "response_surface": (0.0, 2.0**20),
}  # whether its steps reach a bound is decided by rounding: here there is none


def budget_of(low, up):
    """The same budget of genes in [0, 1], told in other units."""
    prices = [price / (up - low) for price in PRICES]
    genes = Genes.real("abcd", low, up)
    return Additive(genes, prices, limit=-0.4137, fixed=-low * sum(prices))


def share(genome, low, up):
    return [(value - low) / (up - low) for value in genome]


def populations(name, low, up):
    """The populations of four generations, as shares of the ranges; operators are those of the report."""
    budget, toolbox = budget_of(low, up), base.Toolbox()
    for slot, chosen, count in (("mutate", "gaussian", 1), ("mate", "blend", 2), ("repair", "shift", 1)):
        toolbox.register(slot, _bound(registry.operator(slot, chosen), count, budget, {}))
    toolbox.register(
        "individual", lambda genome=None: toolbox.repair(Individual(genome or budget.genes.random(), (-1.0,)))[0]
    )
    toolbox.register("select", _bound(registry.operator("select", "tournament"), 2, None, {}))
    toolbox.register("survive", _bound(registry.operator("survive", "elitist"), 1, None, {}))
    random.seed(3)
    numpy.random.seed(3)

    def score(genome, _):
        return sum((place + 1) * (value - 0.3) ** 2 for place, value in enumerate(share(genome, low, up)))

    found, _ = drive(_bound(registry.operator("algorithm", name), 1, budget, {})(toolbox), 4, score)
    return [[share(genome, low, up) for genome, _ in population] for population in found]


@pytest.mark.parametrize("name", OF_GENES)
def test_an_algorithm_takes_the_same_way_in_other_units(name):
    ours, theirs = populations(name, 0.0, 1.0), populations(name, *EXACT.get(name, (LOW, UP)))
    assert len(ours) > 1
    for generation, other in zip(ours, theirs, strict=True):
        assert numpy.array(other) == pytest.approx(numpy.array(generation), abs=1e-6)


@pytest.mark.parametrize(("slot", "name"), [(slot, name) for slot in ("mutate", "repair")
                                            for name in sorted(registry.operators(slot))
                                            if "genes" in registry.breeds(slot, name)
                                            and name != "flip_bit"])  # fmt: skip
def test_an_operator_makes_the_same_child_in_other_units(slot, name):
    children = []
    for low, up in ((0.0, 1.0), (LOW, UP)):
        budget = budget_of(low, up)
        random.seed(5)
        parents = [Individual(low + (up - low) * random.random() for _ in PRICES) for _ in range(20)]
        operator = _bound(registry.operator(slot, name), 1, budget, {})
        children.append([share(operator(parent)[0], low, up) for parent in parents])
    assert numpy.array(children[1]) == pytest.approx(numpy.array(children[0]), abs=1e-6)


def test_a_gene_with_a_scale_of_its_own_is_changed_by_shares_of_it():
    for scale, reach in ((None, 2.0), (1.0, 0.1)):
        genes = Genes([Gene("x", -10.0, 10.0, scale=scale)])
        search = Search(genes, algorithm="level_switching", operators={"mutate": {"use": "gaussian", "indpb": 1.0}})
        (first,) = search.ask()
        search.tell(first, 0.0)
        moves = [abs(child[0] - first[0]) for child in search.ask()]
        assert reach / 10 < max(moves) <= reach + 1e-9
