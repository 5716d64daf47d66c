import pytest

from evoprune.experiment import parameters, registry


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


def test_what_the_engine_supplies_is_not_the_users_to_give(evoprune):
    keys = {line.split()[0] for line in evoprune("ls", "operators").out.splitlines() if line.startswith("      ")}
    assert not keys & {"low", "up", "weights", "target"}


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
