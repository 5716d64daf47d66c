"""What a run will need is measured on the model, and grows with what is asked for."""

import json
import re

import pytest

from evoprune.cli import main
from evoprune.problems.language_model.evaluation.cost_estimate import pace
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings


def test_a_pace_is_positive_and_leaves_the_model_as_it_was(small, tokens):
    resident = Resident.load(ModelSettings(model=small["model"], dtype="float32", device="cpu"))
    before = resident.weights_sha256
    found = pace(resident, tokens, with_gradients=True)
    assert 0 < 2 * found.scored <= found.gradients
    assert pace(resident, tokens, with_gradients=False).gradients is None
    del vars(resident)["weights_sha256"]
    assert resident.weights_sha256 == before
    assert not any(parameter.requires_grad for parameter in resident.model.parameters())


@pytest.fixture
def needs(small, tmp_path, capsys):
    """What ``validate --measure`` says of an experiment, as numbers by name."""

    def call(problem, **experiment):
        spec = {"problem": small | problem, "operators": {"repair": "shift"}} | experiment
        (tmp_path / "experiment.yaml").write_text(json.dumps(spec))
        assert main(["validate", str(tmp_path / "experiment.yaml"), "--measure"]) == 0
        first, *rest = capsys.readouterr().out.splitlines()
        assert first == f"{tmp_path / 'experiment.yaml'}: valid"
        return dict(line.split(": ", 1) for line in rest)

    return call


def parts(told):
    return set(re.findall(r"[(,] ?([a-z ]+?) [\d.]+", told["minutes"]))


def test_what_takes_time_is_told_by_part(needs):
    pruning = {"use": "pruning", "curve": []}
    assert parts(needs(pruning)) == {"loading", "searching", "reporting"}
    assert "calibrating" in parts(needs(pruning | {"score": "gblm"}))
    assert "calibrating" in parts(needs(pruning | {"prior": "owl"}))
    more = needs(pruning | {"allocations": ["owl"], "reconstruct": "sparsegpt"})
    assert parts(more) >= {"calibrating", "updating weights"}
    told = needs({"use": "language_model", "transforms": "heads", "budget": {"use": "parameters", "removed": 0.2}})
    assert set(told) == {"speed", "minutes", "memory", "disk"}
    if ggml.missing() is None:
        assert "quantising" in parts(needs({"use": "language_model", "transforms": "types"}))
    assert told["speed"].endswith("float32 on cpu")


def test_a_larger_budget_takes_longer(needs):
    minutes = [
        float(re.search(r"searching ([\d.]+)", needs({"use": "pruning", "curve": []}, budget=budget)["minutes"])[1])
        for budget in (1e6, 1e9)
    ]
    assert minutes[0] < minutes[1]
