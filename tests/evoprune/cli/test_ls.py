import pytest

from evoprune.experiment import parameters, registry
from evoprune.experiment.resolve import ALWAYS_SUPPLIED
from evoprune.experiment.spec import Experiment


def test_everything_registered_is_listed(evoprune):
    lines = evoprune("ls").out.splitlines()
    for slot in parameters.DATA_ARGUMENTS:
        assert f"operators.{slot}" in lines
        for name in registry.operators(slot):
            assert any(line.startswith(f"  {name} ") for line in lines)
    for name in registry.names(registry.PROBLEMS):
        assert any(line.startswith(f"  {name} ") for line in lines)
    for path in (registry.HOME / "problems").glob("*.yaml"):
        assert any(line.startswith(f"  problems/{path.name} ") for line in lines)


def test_parameters_are_listed_with_default_and_meaning(evoprune):
    assert "sigma                = 0.05       standard deviation of a change" in evoprune("ls").out


@pytest.mark.parametrize(("name", "place"), [("channels", "problem.transforms"), ("blend", "operators.mate")])
def test_one_by_its_name(evoprune, name, place):
    assert evoprune("ls", name).out.startswith(f"{place}\n  {name} ")


def test_a_name_that_nothing_has(evoprune):
    found = evoprune("ls", "chanels")
    assert found.code == 2
    assert "nothing that is installed is called 'chanels'; did you mean 'channels'?" in found.err


def test_keys_of_a_transform_and_of_a_budget(evoprune):
    assert {"step", "score", "compensate"} <= keys_in(evoprune("ls", "channels").out.splitlines())
    assert keys_in(evoprune("ls", "parameters").out.splitlines()) == {"removed"}


def test_what_the_engine_supplies_is_not_the_users_to_give(evoprune):
    assert not keys_in(evoprune("ls", "operators").out.splitlines()) & ALWAYS_SUPPLIED


def keys_in(lines):
    return {line.split()[0] for line in lines if line.startswith("      ")}


def test_the_experiments_own_keys_and_those_of_nested_settings_are_listed(evoprune):
    assert keys_in(evoprune("ls", "experiment").out.splitlines()) == set(Experiment.model_fields) - {
        "problem",
        "operators",
    }
    _, texts, *_ = evoprune("ls", "problems").out.split("    in search_text, report_text, calibration_text:\n")
    assert {"source", "window", "sampling"} <= keys_in(texts.split("\n\n")[0].splitlines())


@pytest.mark.parametrize("title", ["score", "allocations"])
def test_a_problems_own_plugins_are_listed_with_what_their_source_says(evoprune, title):
    section = evoprune("ls", "problems").out.split(f"pruning: {title}\n")[1].split("\n\n")[0]
    group = registry.problem("pruning").plugin_groups[title]
    told = {line.split()[0]: line[2:].split(maxsplit=1)[1] for line in section.splitlines()}
    assert told == {name: entry.load().__doc__.split("\n")[0] for name, entry in registry.names(group).items()}


@pytest.mark.parametrize(
    ("what", "there", "absent"), [("operators", "sigma", "dimensions"), ("problems", "dimensions", "sigma")]
)
def test_one_kind_alone(evoprune, what, there, absent):
    out = evoprune("ls", what).out
    assert f" {there} " in out
    assert f" {absent} " not in out


def test_every_entry_says_what_it_is(evoprune):
    entries = [line for line in evoprune("ls").out.splitlines() if line.startswith("  ") and line[2] != " "]
    assert len(entries) > 15
    assert all(len(line.split()) > 2 for line in entries)
