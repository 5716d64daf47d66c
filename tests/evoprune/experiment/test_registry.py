from importlib.metadata import EntryPoint

import pytest

from evoprune.errors import InputError
from evoprune.experiment import registry
from evoprune.interfaces.problem import Problem


def test_every_registered_problem_is_one():
    assert {"benchmark", "pruning"} <= set(registry.names(registry.PROBLEMS))
    for name in registry.names(registry.PROBLEMS):
        assert issubclass(registry.problem(name), Problem)


def test_every_operator_of_ours_is_registered_under_its_own_name():
    shared = {"__init__", "breeding", "landing", "level_costs", "marginals"}
    files = {path.stem for path in (registry.HOME / "operators").glob("*/*.py")} - shared
    assert files <= {name.split(".")[1] for name in registry.names(registry.OPERATORS)}


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("deap.tools:", "has no ''"),
        ("deap.tools:cxBlend.x", "has no 'cxBlend.x'"),
        ("deap.tools:__name__", "is not a function"),
        (":x", "list '' under plugins"),
        ("os:system", "list 'os' under plugins"),
        ("deap:tools", "list 'deap' under plugins"),
    ],
)
def test_what_is_no_operator_is_refused(name, fragment):
    with pytest.raises(InputError) as refused:
        registry.operator("mate", name)
    assert fragment in str(refused.value)


@pytest.mark.parametrize("value", ["no_such_module:x", "evoprune:no_such_attribute"])
def test_a_half_installed_package_is_named(monkeypatch, value):
    found = {"mate.theirs": EntryPoint("mate.theirs", value, registry.OPERATORS)}
    monkeypatch.setattr(registry, "names", lambda group: found)
    with pytest.raises(InputError, match=rf"cannot import 'theirs' \({value}\)"):
        registry.operator("mate", "theirs")
