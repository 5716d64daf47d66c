"""What the page on bits says, done on the bundled model."""

import json

import pytest

from evoprune.cli import main
from tests.docs.conftest import ROOT
from tests.docs.test_commands import commands

FEWER = [
    "--set", "budget=16384", "--set", "problem.transforms={use: types, types: [Q8_0, Q5_0, Q4_0, MXFP4]}",
    "--set", "problem.search_text={source: 'bundled:python-docs', split: validation, window: 64, windows: 8}",
    "--set", "problem.calibration_text.windows=4", "--set", "problem.report_text.windows=8",
]  # fmt: skip


@pytest.mark.slow
def test_the_first_commands_give_a_file_of_some_bits_that_llama_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp_py_sync")
    monkeypatch.chdir(tmp_path)
    run, export = commands(ROOT / "docs" / "bits.md")[:2]
    assert main([*run[3:], *FEWER]) == 0, capsys.readouterr().err
    assert "5.00 bits a weight" in capsys.readouterr().out
    assert main([*export[3:], "--untimed"]) == 0, capsys.readouterr().err
    result = json.loads((tmp_path / "runs" / "bits" / "result.json").read_text())
    facts = json.loads((tmp_path / "bits.evoprune.json").read_text())
    assert (tmp_path / "bits.gguf").stat().st_size == result["cost"]["bytes"]["evolved"]
    assert 4.8 < result["cost"]["bits_per_weight"]["evolved"] <= 5
    assert len(facts["kinds"]) > 3
    assert facts["check"]["divergence"] < 0.05
