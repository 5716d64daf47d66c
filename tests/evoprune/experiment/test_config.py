import pytest
import yaml

from evoprune.experiment.config import find, override, read
from evoprune.experiment.registry import HOME
from evoprune.experiment.resolve import resolve


def config():
    return {"problem": "benchmark", "operators": {"mate": "blend", "mutate": {"use": "gaussian", "sigma": 0.1}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("true", True), ("", None), ("[1, a]", [1, "a"]), ("'3'", "3"), ("a=b", "a=b")],
)
def test_values_are_yaml(text, value):
    assert override(config(), [f"seed={text}"])["seed"] == value


def test_the_schema_makes_a_number_of_what_yaml_calls_a_string():
    changed = override(config(), ["operators.mutate.sigma=1e-3", "mate_probability=1e-1"])
    assert changed["operators"]["mutate"]["sigma"] == "1e-3"
    resolved = resolve(changed, "here")
    assert resolved.operators["mutate"].parameters.sigma == 0.001
    assert resolved.experiment.mate_probability == 0.1


def test_an_operator_without_annotations_gets_numbers_too():
    changed = override(config(), ["operators.mate=deap.tools:cxBlend", "operators.mate.alpha=1e-1"])
    assert resolve(changed, "here").operators["mate"].parameters.alpha == 0.1


@pytest.mark.parametrize(
    ("settings", "slot", "expected"),
    [
        (["operators.repair.use=shift"], "repair", {"use": "shift"}),
        (["operators.mate.alpha=1"], "mate", {"use": "blend", "alpha": 1}),
        (["operators.mutate.use=exchange"], "mutate", {"use": "exchange"}),
        (["operators.mutate.use=gaussian"], "mutate", {"use": "gaussian", "sigma": 0.1}),
        (["~operators.mutate.sigma", "~operators.mate"], "mutate", {"use": "gaussian"}),
    ],
)
def test_sections_are_made_changed_and_cleared(settings, slot, expected):
    given = config()
    rest = {key: value for key, value in given["operators"].items() if f"~operators.{key}" not in settings}
    assert override(given, settings)["operators"] == rest | {slot: expected}


def test_anchors_and_merges_work(write):
    file = write("operators: {mate: &one {use: blend, alpha: 1}, mutate: {<<: *one, use: gaussian}}")
    assert read(file)["operators"]["mutate"] == {"use": "gaussian", "alpha": 1}


@pytest.mark.parametrize("setting", ["b.c.size=2", "~b.c.size"])
def test_a_mapping_that_an_alias_names_twice_is_changed_in_one_place(write, setting):
    config = override(read(write("a: &one {c: {size: 1}}\nb: *one\n")), [setting])
    assert config["a"] == {"c": {"size": 1}}
    assert config["b"]["c"] == ({} if setting.startswith("~") else {"size": 2})


def test_a_file_of_ours_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("problems/rastrigin.yaml") == HOME / "problems" / "rastrigin.yaml"


def test_a_file_here_comes_before_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "rastrigin.yaml").write_text("seed: 5")
    assert yaml.safe_load(find("problems/rastrigin.yaml").read_text()) == {"seed": 5}
