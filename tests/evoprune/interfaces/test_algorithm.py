import pickle
from copy import deepcopy

import pytest

from evoprune import Individual


def scored(weights, values, **keys):
    individual = Individual([0.1, 0.2], weights, **keys)
    individual.fitness.values = values
    return individual


@pytest.mark.parametrize("copy", [deepcopy, lambda i: pickle.loads(pickle.dumps(i))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize(("weights", "values"), [((-1.0,), (3.0,)), ((1.0,), (3.0,)), ((-1.0, 2.0), (3.0, 4.0))])
def test_a_copy_is_whole_and_its_own(copy, weights, values):
    original = scored(weights, values, parents=(4, 7))
    original.ident = 9
    twin = copy(original)
    assert type(twin) is Individual
    assert (list(twin), twin.ident, twin.parents) == ([0.1, 0.2], 9, (4, 7))
    assert (twin.fitness.weights, twin.fitness.values) == (weights, values)
    twin[0] = 5.0
    del twin.fitness.values
    assert (original[0], original.fitness.values) == (0.1, values)


@pytest.mark.parametrize(("weight", "better"), [(-1.0, 1.0), (1.0, 2.0)])
def test_weights_of_the_instance_decide_what_is_better(weight, better):
    one, two = scored((weight,), (1.0,)), scored((weight,), (2.0,))
    assert max(one, two, key=lambda i: i.fitness).fitness.values == (better,)


def test_a_child_is_unscored_and_its_own():
    parent = scored((1.0,), (3.0,), parents=(1,))
    parent.ident = 2
    child = parent.child()
    assert (list(child), child.ident, child.parents, child.fitness.weights) == ([0.1, 0.2], None, (2,), (1.0,))
    assert not child.fitness.valid
    child[0] = 9.0
    assert parent[0] == 0.1
