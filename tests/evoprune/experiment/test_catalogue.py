"""Editors accept what evoprune accepts, and mark what a person mistypes."""

import json

import pytest
import yaml

from evoprune.experiment.registry import HOME
from evoprune.experiment.resolve import resolve

jsonschema = pytest.importorskip("jsonschema")

EXPERIMENTS = sorted((HOME / "problems").glob("*.yaml"))


@pytest.fixture(scope="module")
def faults():
    from evoprune.experiment.catalogue import json_schema

    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft7Validator.check_schema(schema)
    return lambda given: [
        text for fault in jsonschema.Draft7Validator(schema).iter_errors(given) for text in told(fault)
    ]


def told(fault):
    """The messages of a fault, and of those in each form that was tried."""
    yield fault.message
    for inner in fault.context:
        yield from told(inner)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_is_valid_and_so_is_its_resolved_form(faults, path):
    given = yaml.safe_load(path.read_text())
    assert faults(given) == []
    assert faults(resolve(given, path.name).config()) == []
    automatic = given | {"operators": given.get("operators", {}) | {"algorithm": "auto"}}
    assert faults(automatic) == faults(resolve(automatic, path.name).config()) == []


MISTYPED = [
    ("populaton", 3, "'populaton' was unexpected"),
    ("population", "many", "'many' is not of type 'integer'"),
    ("problem.sparsty", 0.5, "'sparsty' was unexpected"),
    ("problem.use", "prunning", "'prunning'"),
    ("problem.dtype", "fp16", "'fp16' is not one of"),
    ("problem.search_text.windwo", 3, "'windwo' was unexpected"),
    ("operators.crossover", "blend", "'crossover' was unexpected"),
    ("operators.mate", {"use": "blend", "alfa": 0.5}, "'alfa' was unexpected"),
    ("operators.mate", {"alpha": 0.5}, "'use' is a required property"),
    ("problem.transforms", {"use": "chanels"}, "'chanels'"),
    ("problem.transforms", [{"use": "heads"}, {"use": "channels", "step": "wide"}], "'wide' is not of type 'integer'"),
    ("problem.budget", {"removed": 0.2}, "'use' is a required property"),
    ("problem.budget", {"use": "parameters", "removed": 2}, "2 is greater than the maximum of 1"),
    ("problem.recover", {"tokenz": 3}, "'tokenz' was unexpected"),
]


@pytest.mark.parametrize(("key", "value", "fragment"), MISTYPED)
def test_what_is_mistyped_is_marked(faults, key, value, fragment):
    *sections, last = key.split(".")
    place = given = yaml.safe_load((HOME / "problems" / "smollm2_structure.yaml").read_text())
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    assert [message for message in faults(given) if fragment in message], faults(given)


def test_plugins_of_a_users_own_are_left_to_evoprune(faults):
    given = {"plugins": ["mine"], "problem": "mine:Problem", "operators": {"mate": {"use": "mine:mate", "own": 1}}}
    assert faults(given) == []
