"""What the page on files for llama.cpp says, done on the bundled model."""

import json

import pytest

from evoprune.cli import main
from tests.docs.conftest import ROOT
from tests.docs.test_commands import commands

FEWER = ["--set", "budget=12288", "--set", "problem.report_text.windows=8"]


@pytest.mark.slow
def test_the_first_commands_give_a_file_that_llama_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp_py_sync")
    from problems.gguf.llama import Llama

    monkeypatch.chdir(tmp_path)
    run, export = commands(ROOT / "docs" / "gguf.md")[:2]
    assert main([*run[3:], *FEWER]) == 0
    assert main(export[3:]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    facts = json.loads((tmp_path / "small.evoprune.json").read_text())
    assert facts["fit"]
    assert facts["check"]["first_other_token"] is None
    for word in (
        "bits for each weight",
        "perplexity on the report text in llama.cpp",
        "prefill",
        "decode",
        "peak memory",
    ):
        assert word in told
        assert word in (tmp_path / "small.README.md").read_text()
    model = Llama("small.gguf", 1)
    model.begin(32)
    assert model.read(model.tokenise("The with statement"), 0).shape == (1, 4096)
