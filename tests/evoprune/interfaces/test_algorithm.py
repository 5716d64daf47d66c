import math
import pickle
import random
from copy import deepcopy

import pytest
from deap import tools

from evoprune import Individual


def scored(weights, values, **keys):
    individual = Individual([0.1, 0.2], weights, **keys)
    individual.fitness.values = values
    return individual


@pytest.mark.parametrize("copy", [deepcopy, lambda i: pickle.loads(pickle.dumps(i))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize(("weights", "values"), [((-1.0,), (3.0,)), ((1.0,), (3.0,)), ((-1.0, 2.0), (3.0, 4.0))])
def test_a_copy_is_whole_and_its_own(copy, weights, values):
    original = scored(weights, values, parents=(4, 7))
    original.fitness.assign(values, 0.5)
    original.ident = 9
    twin = copy(original)
    assert type(twin) is Individual
    assert (list(twin), twin.ident, twin.parents) == ([0.1, 0.2], 9, (4, 7))
    assert (twin.fitness.weights, twin.fitness.values, twin.fitness.violation) == (weights, values, 0.5)
    twin[0] = 5.0
    del twin.fitness.values
    assert (original[0], original.fitness.values) == (0.1, values)


def test_a_child_is_unscored_and_its_own():
    parent = scored((1.0,), (3.0,), parents=(1,))
    parent.ident = 2
    child = parent.child()
    assert (list(child), child.ident, child.parents, child.fitness.weights) == ([0.1, 0.2], None, (2,), (1.0,))
    assert not child.fitness.valid
    child[0] = 9.0
    assert parent[0] == 0.1


@pytest.fixture
def people():
    """Individuals of two objectives, of which some fail and half violate constraints."""
    random.seed(0)
    found = [Individual([float(at)], (-1.0, 1.0)) for at in range(60)]
    for at, one in enumerate(found):
        failed = at % 10 == 0
        values = (math.inf, -math.inf) if failed else (random.randrange(4), random.randrange(4))
        one.fitness.assign(values, random.choice([0.0, 0.0, 0.5, 2.0]))
    return found


def violation(one):
    return math.inf if math.isinf(one.fitness.values[0]) else one.fitness.violation


def before(one, other):
    """Deb's rule: the smaller violation, else Pareto's dominance."""
    if violation(one) != violation(other):
        return violation(one) < violation(other)
    (cost, gain), (other_cost, other_gain) = one.fitness.values, other.fitness.values
    return (cost, gain) != (other_cost, other_gain) and cost <= other_cost and gain >= other_gain


def test_fronts_of_constrained_fitness_are_those_of_the_rule(people):
    rest, fronts = list(people), []
    while rest:
        fronts.append([one for one in rest if not any(before(other, one) for other in rest)])
        rest = [one for one in rest if one not in fronts[-1]]
    found = tools.sortNondominated(people, len(people))
    assert [sorted(map(tuple, front)) for front in found] == [sorted(map(tuple, front)) for front in fronts]
    archive = tools.ParetoFront()
    archive.update(people)
    kept = {(one.fitness.values, one.fitness.violation) for one in archive}
    assert kept == {(one.fitness.values, one.fitness.violation) for one in fronts[0]}
