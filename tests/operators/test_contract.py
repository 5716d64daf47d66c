"""What every registered operator must keep, whoever registers it."""

import pickle
import random

import pytest
from deap import tools

from evoprune import Additive, Gene, Genes, Individual
from evoprune.experiment import registry
from evoprune.testing import check_operator
from evoprune.testing.operators import PARENTS

SLOTS = {*PARENTS, "algorithm", "select", "survive"}


def every(*slots):
    """Parametrise over the operators registered for ``slots``."""
    found = [(slot, name) for slot in sorted(slots) for name in sorted(registry.operators(slot))]
    return pytest.mark.parametrize(("slot", "name"), found, ids=[".".join(pair) for pair in found])


def test_every_slot_has_operators_and_every_operator_a_slot():
    assert {name.split(".")[0] for name in registry.names(registry.OPERATORS)} == SLOTS


@every(*SLOTS)
def test_it_keeps_the_laws_of_its_slot(slot, name):
    check_operator(slot, registry.operator(slot, name))


@every("repair")
def test_a_repair_of_many_weights_lands_on_the_target_and_refuses_others(slot, name):
    """Weights of many sizes, some genes fixed; genomes within the bounds, at them and outside."""
    rng = random.Random(3)
    repair = registry.operator(slot, name)
    for trial in range(100):
        low = [rng.uniform(-1, 1) for _ in range(1 + trial % 9)]
        up = [x + rng.choice([0.0, rng.random(), 3.0]) for x in low]
        genes = Genes([Gene(str(place), *ends) for place, ends in enumerate(zip(low, up, strict=True))])
        prices = [-(10 ** rng.uniform(-2, 4)) for _ in low]
        least, most = (Additive.at_share(genes, prices, 0.0).excess(ends) for ends in (up, low))
        share = rng.choice([0.0, 1.0, rng.random()])
        budget = Additive.at_share(genes, prices, (1 - share) * least + share * most)
        for far in (0.0, 3.0):
            genome = [rng.uniform(a - far, b + far) for a, b in zip(low, up, strict=True)]
            (child,) = repair(Individual(genome), genes=genes, budget=budget)
            assert abs(budget.excess(child)) <= 1e-9
            assert genes.allow(child)
        for wrong in (least - 1e-3, most + 1e-3):
            with pytest.raises(ValueError, match="out of reach"):
                repair(Individual(genes.random()), genes=genes, budget=Additive.at_share(genes, prices, wrong))


@every("repair")
@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.9])
def test_a_gene_that_spends_nothing_stays_in_a_repair(slot, name, sparsity):
    genes = Genes([Gene.of_levels("metric", range(7)), Gene("free of cost", 0.0, 9.0), Gene("a"), Gene("b")])
    budget = Additive(genes, [0.0, 0.0, -1.0, -3.0], limit=-2.0)
    (child,) = registry.operator(slot, name)(Individual([5.0, 2.5, sparsity, 0.5]), genes=genes, budget=budget)
    assert child[:2] == [5.0, 2.5]
    assert budget.kept(child)


@every("select")
@pytest.mark.parametrize("value", [1.0, float("inf")])
def test_selection_works_where_all_are_equal(slot, name, value):
    individuals = [Individual([float(place)]) for place in range(6)]
    for individual in individuals:
        individual.fitness.values = (value,)
    assert len(registry.operator(slot, name)(individuals, 2)) == 2


@pytest.mark.parametrize(
    ("slot", "function", "parameters"),
    [
        ("mate", tools.cxUniform, {"indpb": 0.5}),
        ("mutate", tools.mutGaussian, {"mu": 0, "sigma": 1, "indpb": 0.5}),
        ("select", tools.selTournament, {"tournsize": 2}),
    ],
)
def test_operators_of_deap_keep_the_laws(slot, function, parameters):
    check_operator(slot, function, **parameters)


def beyond(individual, *, up):
    individual[:] = [most + 1 for most in up]
    return (individual,)


def idle(individual, *, budget):
    return (individual,)


def unsteady(individual, calls=[]):  # noqa: B006
    calls.append(1)
    individual[0] = float(len(calls))
    return (individual,)


def everyone(individuals):
    return list(individuals)


@pytest.mark.parametrize(
    ("slot", "function", "law"),
    [
        ("mutate", beyond, "beyond the bounds"),
        ("repair", idle, "limit|allowed|beyond"),
        ("mutate", unsteady, "one seed"),
        ("mutate", lambda individual: (individual,), "pickl"),
        ("survive", everyone, "no place is left"),
    ],
)
def test_a_broken_law_is_named(slot, function, law):
    with pytest.raises((AssertionError, AttributeError, pickle.PicklingError), match=law):
        check_operator(slot, function)
