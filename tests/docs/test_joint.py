"""What the page on joint searches says, done on the bundled model: from dense to a file that llama.cpp runs."""

import json

import pytest

from evoprune.cli import main
from problems.language_model.problem import Compression
from tests.docs.conftest import ROOT
from tests.docs.test_commands import commands

FEWER = [
    "--set", "budget=10240", "--set", "problem.budget.at_most=1000000",
    "--set", "problem.transforms=[{use: sublayers, genes: block}, {use: channels, genes: model, step: 128, drop: false,"
    "score: structured_obs, compensate: true}, {use: types, types: [Q8_0, Q5_0, Q4_0]}]",
    "--set", "problem.search_text={source: 'bundled:python-docs', split: validation, window: 64, windows: 8}",
    "--set", "problem.calibration_text.windows=8", "--set", "problem.report_text.windows=8",
    "--set", "problem.recover.tokens=8192", "--set", "problem.recover.evaluations=2",
]  # fmt: skip


@pytest.mark.slow
def test_the_first_commands_give_a_recovered_file_of_some_bytes_that_llama_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp_py_sync")
    monkeypatch.chdir(tmp_path)
    run, export = commands(ROOT / "docs" / "joint.md")[:2]
    assert main([*run[3:], *FEWER]) == 0, capsys.readouterr().err
    assert main([*export[3:], "--untimed"]) == 0, capsys.readouterr().err
    result = json.loads((tmp_path / "runs" / "joint" / "result.json").read_text())
    facts = json.loads((tmp_path / "joint.evoprune.json").read_text())
    row = result["recovered"]["evolved"]
    assert row["perplexity_after"] < row["perplexity_before"]
    assert (tmp_path / "joint.gguf").stat().st_size == result["cost"]["bytes"]["evolved"] <= 1_000_000
    assert facts["fit"]
    assert facts["check"]["run_perplexity"] == pytest.approx(row["perplexity_after"])
    standing = Compression.standing(facts)  # what a front shows of it
    assert standing.values == {
        "bytes": result["cost"]["bytes"]["evolved"],
        "divergence": facts["check"]["divergence"],
        "perplexity": facts["check"]["perplexity"],
    }
    assert facts["check"]["perplexity"] == pytest.approx(row["perplexity_after"], rel=1e-2)
    assert {"Q4_0", "F32"} < set(facts["kinds"])
