"""What every registered operator must keep, whoever registers it."""

from __future__ import annotations

import pickle
import random
from functools import partial
from typing import NamedTuple

import numpy
import pytest

from evoprune import Individual
from evoprune.experiment import parameters, registry

TRIALS = 100


class Space(NamedTuple):
    low: list[float]
    up: list[float]
    weights: list[float]
    target: float

    @property
    def size(self):
        return len(self.low)


def mean(genes, weights):
    return sum(g * w for g, w in zip(genes, weights, strict=True)) / sum(weights)


def space(rng, low, up):
    weights = [10 ** rng.uniform(-2, 4) for _ in low]
    share = rng.choice([0.0, 1.0, rng.random(), rng.random()])
    return Space(low, up, weights, (1 - share) * mean(low, weights) + share * mean(up, weights))


def spaces():
    """Random ones with some genes fixed; among them a genome of one gene, and one with no free gene."""
    rng = random.Random(1)
    for trial in range(TRIALS):
        low = [rng.uniform(-1, 1) for _ in range(1 + trial % 9)]
        yield space(rng, low, [x + rng.choice([0.0, rng.random(), 3.0]) for x in low])
    yield Space([0.25], [0.25], [1.0], 0.25)
    yield Space([0.0, 0.0], [1.0, 1.0], [1.0, 0.0], 0.5)


def inside(rng, space):
    return [rng.uniform(*bounds) for bounds in zip(space.low, space.up, strict=True)]


def at_bounds(rng, space):
    return [rng.choice(bounds) for bounds in zip(space.low, space.up, strict=True)]


def outside(rng, space):
    return [rng.uniform(low - 3, up + 3) for low, up in zip(space.low, space.up, strict=True)]


def tool(slot, name, space=None):
    """The operator as the engine registers it, with its default parameters."""
    supplied = {key: getattr(space, key) for key in ("low", "up", "weights", "target")} if space else {}
    function = registry.operator(slot, name)
    return partial(function, **parameters.arguments(parameters.schema(function, slot, supplied)(), supplied))


def apply(slot, name, space, genome):
    """The children of genomes that ``genome(space)`` draws."""
    individuals = [Individual(genome(space)) for _ in range(parameters.DATA_ARGUMENTS[slot])]
    return tool(slot, name, space)(*individuals)


def population(size, weight=-1.0):
    individuals = [Individual([random.random()], (weight,)) for _ in range(size)]
    for individual in individuals:
        individual.fitness.values = (random.choice([random.random(), float("inf"), 0.5]),)
    return individuals


def every(*slots):
    """Parametrise over the operators registered for ``slots``."""
    found = [(slot, name) for slot in slots for name in sorted(registry.operators(slot))]
    return pytest.mark.parametrize(("slot", "name"), found, ids=[".".join(pair) for pair in found])


def test_every_slot_has_operators_and_every_operator_a_slot():
    slots = {name.split(".")[0] for name in registry.names(registry.OPERATORS)}
    assert slots == set(parameters.DATA_ARGUMENTS)


@every("mate", "mutate", "repair")
@pytest.mark.parametrize("draw", [inside, at_bounds])
def test_children_have_the_right_form_and_stay_within_bounds(slot, name, draw):
    rng = random.Random(2)
    random.seed(2)
    for space in spaces():
        children = apply(slot, name, space, partial(draw, rng))
        assert isinstance(children, tuple)
        assert len(children) == (2 if slot == "mate" else 1)
        for child in children:
            assert isinstance(child, Individual)
            assert len(child) == space.size
            assert all(low <= gene <= up for gene, low, up in zip(child, space.low, space.up, strict=True))


@every("repair")
@pytest.mark.parametrize("draw", [inside, at_bounds, outside])
def test_a_repair_lands_on_the_target(slot, name, draw):
    rng = random.Random(3)
    for space in spaces():
        (child,) = apply(slot, name, space, partial(draw, rng))
        assert mean(child, space.weights) == pytest.approx(space.target, abs=1e-9)
        assert all(low <= gene <= up for gene, low, up in zip(child, space.low, space.up, strict=True))


@every("repair")
def test_a_repair_leaves_alone_what_is_on_target(slot, name):
    rng = random.Random(4)
    for space in spaces():
        genes = inside(rng, space)
        (child,) = tool(slot, name, space._replace(target=mean(genes, space.weights)))(Individual(genes))
        assert child == pytest.approx(genes, abs=1e-9)


@every("repair")
def test_a_repair_refuses_a_target_out_of_reach(slot, name):
    rng = random.Random(5)
    for space in spaces():
        for target in (mean(space.low, space.weights) - 1e-3, mean(space.up, space.weights) + 1e-3):
            with pytest.raises(ValueError, match="target"):
                tool(slot, name, space._replace(target=target))(Individual(inside(rng, space)))


@every("mate", "mutate", "repair")
def test_the_same_seed_gives_the_same_children(slot, name):
    def children():
        random.seed(6)
        numpy.random.seed(6)
        return [list(child) for space in spaces() for child in apply(slot, name, space, partial(inside, random))]

    assert children() == children()


@every("select", "survive")
def test_the_same_seed_draws_the_same_individuals(slot, name):
    individuals = population(12)

    def drawn():
        random.seed(7)
        return [id(i) for i in tool(slot, name)(individuals, *([5] if slot == "select" else []))]

    assert drawn() == drawn()


@every(*parameters.DATA_ARGUMENTS)
def test_it_pickles(slot, name):
    function = registry.operator(slot, name)
    assert pickle.loads(pickle.dumps(function)) is function


@every("select")
@pytest.mark.parametrize(("size", "k"), [(2, 2), (9, 1), (9, 2), (9, 9)])
@pytest.mark.parametrize("weight", [-1.0, 1.0])
def test_selection_draws_k_members(slot, name, size, k, weight):
    random.seed(8)
    for _ in range(20):
        individuals = population(size, weight)
        drawn = tool(slot, name)(individuals, k)
        assert len(drawn) == k
        assert {id(i) for i in drawn} <= {id(i) for i in individuals}


@every("select")
@pytest.mark.parametrize("value", [1.0, float("inf")])
def test_selection_works_where_all_are_equal(slot, name, value):
    individuals = population(6)
    for individual in individuals:
        individual.fitness.values = (value,)
    assert len(tool(slot, name)(individuals, 2)) == 2


@every("survive")
@pytest.mark.parametrize("weight", [-1.0, 1.0])
def test_the_best_survives_and_leaves_a_place(slot, name, weight):
    random.seed(9)
    for size in range(2, 20):
        individuals = population(size, weight)
        kept = tool(slot, name)(individuals)
        assert 1 <= len(kept) < size
        assert {id(i) for i in kept} <= {id(i) for i in individuals}
        assert max(kept, key=lambda i: i.fitness).fitness == max(individuals, key=lambda i: i.fitness).fitness
