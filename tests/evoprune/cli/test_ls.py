"""What is installed, for people and editors."""

from importlib.metadata import EntryPoint

import pytest

from evoprune.experiment import parameters, registry


def keys_in(text):
    return {line.split()[0] for line in text.splitlines() if line.startswith("      ")}


def test_everything_registered_is_listed_with_what_it_is(evoprune):
    everything = evoprune("ls").out
    for slot in parameters.DATA_ARGUMENTS:
        section = everything.split(f"operators.{slot}\n")[1].split("\n\n")[0]
        assert all(f"\n  {name} " in f"\n{section}" for name in registry.operators(slot))
    for group in [registry.PROBLEMS, *registry.other_groups()]:
        assert all(f"\n  {name} " in everything for name in registry.names(group))
    assert all(f"\n  problems/{path.name} " in everything for path in (registry.HOME / "problems").glob("*.yaml"))
    entries = [line for line in everything.splitlines() if line.startswith("  ") and line[2] != " "]
    assert all(len(line.split()) > 2 for line in entries)


def test_plugins_of_other_packages_are_listed_by_kind_and_by_name(evoprune, plugin, monkeypatch):
    plugin("elsewhere", 'def mine(weights):\n    """My own score."""\n')
    known, foreign = registry.names, EntryPoint("mine", "elsewhere:mine", "evoprune.scores")
    monkeypatch.setattr(
        registry, "names", lambda group: known(group) | ({"mine": foreign} if group == foreign.group else {})
    )
    for what in ([], ["scores"], ["mine"]):
        answer = evoprune("ls", *what)
        assert answer.code == 0
        assert "  mine                 My own score." in answer.out.splitlines()
    assert "gguf" in evoprune("ls", "export_formats").out


@pytest.mark.parametrize(
    ("name", "place", "keys"),
    [
        ("channels", "problem.transforms", {"step", "drop", "keep"}),
        ("parameters", "problem.budget", {"removed"}),
        ("blend", "operators.mate", {"alpha"}),
    ],
)
def test_a_plugin_by_its_name_with_its_place_and_keys(evoprune, name, place, keys):
    told = evoprune("ls", name).out
    assert told.startswith(f"{place}\n  {name} ")
    assert keys <= keys_in(told)
    assert f"did you mean '{name}'?" in evoprune("ls", name[:-2] + name[-1]).err
