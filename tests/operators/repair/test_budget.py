import pytest

from evoprune import Individual
from evoprune.experiment import registry
from operators.repair.budget import check_reachable, weighted_mean


def test_weighted_mean_counts_each_gene_by_its_weight():
    assert weighted_mean([0.0, 1.0], [3.0, 1.0]) == 0.25


def test_the_bounds_themselves_can_be_reached():
    check_reachable([0.1, 0.3], [0.5, 0.9], [1.0, 1.0], 0.2)
    check_reachable([0.1, 0.3], [0.5, 0.9], [1.0, 1.0], 0.7)


@pytest.mark.parametrize("target", [0.19, 0.71, float("nan")])
def test_what_cannot_be_reached_is_said_with_the_reach(target):
    with pytest.raises(ValueError, match=r"0\.2 to 0\.7"):
        check_reachable([0.1, 0.3], [0.5, 0.9], [1.0, 1.0], target)


@pytest.mark.parametrize("name", ["project", "scale", "shift"])
def test_what_is_on_the_budget_stays_to_the_last_bit(name, problems):
    for genes, budget in problems:
        repair = registry.operator("repair", name)
        (once,) = repair(Individual(genes), **budget)
        assert list(repair(Individual(once), **budget)[0]) == list(once)


@pytest.mark.parametrize("name", ["project", "scale", "shift"])
def test_a_problem_without_a_budget_is_told_so(name):
    with pytest.raises(ValueError, match=r"keeps no budget; leave operators\.repair out"):
        registry.operator("repair", name)(Individual([0.5]), low=[0.0], up=[1.0], weights=[1.0], target=None)
