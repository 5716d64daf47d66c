"""Laws of every algorithm of genes, in addition to those of evoprune.testing."""

import inspect

import pytest

from evoprune import InputError
from evoprune.experiment import registry
from tests.operators.algorithm.conftest import GENES, OF_GENES, TARGET, WEIGHTS, drive, loss, space_of

START = [TARGET] * GENES


def start(name, toolbox, starts=(START,)):
    function = registry.operator("algorithm", name)
    supplied = {
        "population": 12, "mate_probability": 1.0, "mutate_probability": 1.0, "initial_genomes": starts,
        **space_of(),
    }  # fmt: skip
    return function(
        toolbox, **{key: supplied[key] for key in inspect.signature(function).parameters if key in supplied}
    )


@pytest.mark.parametrize("name", OF_GENES)
class TestEvery:
    def test_what_can_win_is_on_the_budget(self, name, toolbox):
        """Probes that measure may leave it, and never win."""
        for step in drive(start(name, toolbox), 6)[1]:
            for individual in step.individuals:
                if not step.probe:
                    mean = sum(g * w for g, w in zip(individual, WEIGHTS, strict=True)) / sum(WEIGHTS)
                    assert mean == pytest.approx(TARGET, abs=1e-9)
                assert all(0 <= gene <= 0.9 for gene in individual)

    def test_it_beats_its_start(self, name, toolbox):
        populations, _ = drive(start(name, toolbox), 12)
        assert min(value for population in populations for _, value in population) < 0.98 * loss(START)


@pytest.mark.parametrize("name", [n for n in OF_GENES if n not in {"cma", "random_search", "response_surface"}])
def test_the_best_of_the_population_never_gets_worse(name, toolbox):
    best = [min(value for _, value in population) for population in drive(start(name, toolbox), 10)[0]]
    assert best == sorted(best, reverse=True)


@pytest.mark.parametrize("name", OF_GENES)
def test_of_several_starts_all_are_scored_before_any_is_left(name, toolbox):
    better = [TARGET + 0.05, TARGET - 0.05 * WEIGHTS[0] / WEIGHTS[1], *START[2:]]
    assert loss(better) < loss(START)
    first = drive(start(name, toolbox, starts=(START, better)), 1)[1][0]
    found = [list(individual) for individual in first.individuals]
    assert START in found
    assert any(genome == pytest.approx(better) for genome in found)


@pytest.mark.parametrize("name", ["generational", "nsga2", "random_search"])
def test_more_starts_than_the_population_holds_are_refused(name, toolbox):
    with pytest.raises(InputError, match="population: 12 is fewer than the 13 known solutions"):
        next(start(name, toolbox, starts=[START] * 13))
