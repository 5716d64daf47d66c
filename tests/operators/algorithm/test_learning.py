import random
from statistics import fmean

import pytest

from evoprune import InputError
from operators.algorithm.learning import Learning
from operators.algorithm.level_switching import level_switching
from operators.mutation.gaussian import gaussian
from tests.operators.algorithm.conftest import GENES, TARGET, best_allocation, drive, loss

START = [[TARGET] * GENES]


def test_what_is_learnt_points_to_the_best_allocation(toolbox):
    """Mutants of one parent, after some were scored, change the genes towards what is known to be best."""
    random.seed(0)
    learning, parent = Learning(toolbox, 3.0), toolbox.individual()
    parent[:] = START[0]

    def gain(children):
        """The mean change of the children along the way to the best allocation."""
        way = [best - TARGET for best in best_allocation()]
        return fmean(sum(w * (gene - TARGET) for w, gene in zip(way, child, strict=True)) for child in children)

    for _ in range(4):
        children = [learning.mutant(parent) for _ in range(50)]
        for child in children:
            child.fitness.values = (loss(child),)
        learning.note()
    before = gain([Learning(toolbox, 0.0).mutant(parent) for _ in range(200)])
    assert gain([learning.mutant(parent) for _ in range(200)]) > before + 0.02


def test_nothing_is_learnt_from_children_that_are_all_alike(toolbox):
    random.seed(0)
    learning, parent = Learning(toolbox, 3.0), toolbox.individual()
    parent[:] = START[0]
    for child in [learning.mutant(parent) for _ in range(20)]:
        child.fitness.values = (float("inf"),)
    learning.note()
    state = random.getstate()
    child = learning.mutant(parent)
    random.setstate(state)
    assert child == Learning(toolbox, 3.0).mutant(parent)


def test_it_finds_better_allocations_with_the_same_scores(toolbox):
    def found(learning):
        random.seed(0)
        ends = [drive(level_switching(toolbox, starts=START, learning=learning), 8)[0][-1] for _ in range(10)]
        return fmean(value for ((_, value),) in ends)

    assert found(1.0) - loss(best_allocation()) < 0.7 * (found(0.0) - loss(best_allocation()))


def test_a_mutation_that_takes_no_advice_is_refused(toolbox):
    toolbox.register("mutate", gaussian, low=[0.0] * GENES, up=[0.9] * GENES)
    with pytest.raises(InputError, match="takes advice, strength and step"):
        next(level_switching(toolbox, starts=START, learning=1.0))
