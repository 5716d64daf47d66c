"""The interface carries a low-rank transform that is one file elsewhere: its contract, budgets, resume and export."""

from __future__ import annotations

import json
import random

import pytest

from evoprune import InputError
from evoprune.cli import main
from evoprune.experiment import registry
from evoprune.problems.language_model.testing import check_transform
from evoprune.testing import check_budget
from tests.problems.language_model.small import drawn, problem_in, resume_cut, run_in
from tests.runs import lines, result

LOW_RANK = {"use": "low_rank"}


@pytest.fixture(autouse=True)
def _installed(tmp_path_factory, monkeypatch):
    """Someone else's package, as pip would leave it: found by this process and its children."""
    home = tmp_path_factory.mktemp("site-packages")
    about = home / "stranger-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[evoprune.transforms]\nlow_rank = tests.problems.language_model.transforms.low_rank:LowRank\n"
    )
    monkeypatch.syspath_prepend(home)
    monkeypatch.setenv("PYTHONPATH", str(home))
    registry.installed.cache_clear()  # as in a process that never looked before
    yield
    registry.installed.cache_clear()


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])  # Conv1D and Linear
def test_it_keeps_the_contract(language_model, architecture, tmp_path):
    check_transform(language_model(**problem_in(tmp_path, architecture), transforms=LOW_RANK).session, pairs=2)


@pytest.mark.parametrize("cuts", [[], ["sublayers"], [{"use": "sublayers", "genes": "block"}]])
@pytest.mark.parametrize("unit", ["parameters", "bytes"])
def test_factors_are_counted_wherever_they_are(language_model, cuts, unit):
    session = language_model(transforms=[*cuts, LOW_RANK]).session
    transform, rng = session.transform, random.Random(0)
    budget = transform.budget(unit, None)
    check_budget(budget)
    for _ in range(10):
        genome = drawn(transform.genes, rng)
        transform.apply(genome)
        left = sum(each.numel() for each in session.resident.model.parameters())
        assert budget.spent(genome) == left * (4 if unit == "bytes" else 1)


def test_a_file_of_llama_cpp_has_no_place_for_factors(language_model, byte_models):
    transforms = [LOW_RANK, {"use": "types", "types": ["Q8_0"], "importance": False}]
    problem = language_model(**byte_models("gpt2"), transforms=transforms)
    with pytest.raises(InputError, match=r"\.gguf"):
        problem.session.transform.budget("bytes", None)


def test_a_run_is_resumed_exactly_and_exported_to_a_folder(tmp_path):
    problem = problem_in(tmp_path) | {"use": "language_model", "transforms": LOW_RANK}
    problem |= {"budget": {"use": "bytes", "removed": 0.2}}
    run = run_in(tmp_path, problem, generations=3)
    whole, found = lines(run), result(run)
    resume_cut(run, 6)
    assert lines(run) == whole
    assert main(["export", str(run), str(tmp_path / "smaller"), "--untimed"]) == 0
    facts = json.loads((tmp_path / "smaller" / "evoprune.json").read_text())
    cost = found["cost"]["parameters"]
    assert 0 < facts["sparsity"]["prunable"] < 1
    assert facts["bytes"] == pytest.approx(4 * cost["evolved"], rel=0.02)
    assert facts["check"]["perplexity"] == pytest.approx(found["perplexity"]["report"]["evolved"], rel=1e-3)
