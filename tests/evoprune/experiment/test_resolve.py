import pytest

from evoprune.console.errors import InputError
from evoprune.experiment.resolve import resolve


def benchmark(**keys):
    return {"problem": {"use": "benchmark"}, **keys}


def faults(config):
    with pytest.raises(InputError) as refused:
        resolve(config, "file.yaml")
    assert str(refused.value).startswith("file.yaml: ")
    return refused.value.problems


def test_all_faults_are_reported_at_once():
    found = faults(
        {
            "problem": {"use": "benchmark", "functoin": "sphere", "dimensions": 0},
            "population": "many",
            "generation": 5,
            "operators": {
                "select": {"use": "truncatoin"},
                "mate": {"use": "blend", "alpha": -1},
                "mutate": {"use": "gaussian", "sigm": 1, "limit": "x"},
                "crossover": "blend",
            },
        }
    )
    assert sorted(fault.split(":")[0] for fault in found) == [
        "generation",
        "operators.crossover",
        "operators.mate.alpha",
        "operators.mutate.limit",
        "operators.mutate.sigm",
        "operators.select.use",
        "population",
        "problem.dimensions",
        "problem.functoin",
    ]


@pytest.mark.parametrize("given", [{}, {"low": 0.5}])
def test_a_supplied_value_may_be_given(given):
    mutate = {"use": "deap.tools:mutPolynomialBounded", "eta": 20, "indpb": 0.1, **given}
    assert resolve(benchmark(operators={"mutate": mutate}), "here").config()["operators"]["mutate"] == mutate


def test_a_budget_is_not_the_users_to_give(plugin):
    plugin("spending", "from evoprune import Budget\ndef spend(individual, *, budget: Budget): return (individual,)")
    config = benchmark(plugins=["spending"], operators={"mutate": {"use": "spending:spend", "budget": 3}})
    (fault,) = faults(config)
    assert fault.startswith("operators.mutate.budget: expected an instance of Budget, got 3")


def test_modules_must_be_listed(plugin):
    plugin("listed", "def mine(individual, *, strength: float = 0.5):\n    return (individual,)\n")
    config = benchmark(operators={"mutate": "listed:mine"})
    (fault,) = faults(config)
    assert "list 'listed' under plugins" in fault
    resolved = resolve({**config, "plugins": ["listed"]}, "here")
    assert resolved.config()["operators"]["mutate"] == {"use": "listed:mine", "strength": 0.5}
