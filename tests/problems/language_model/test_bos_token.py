"""Measures of windows that begin with a token agree in all commands."""

import json
import math

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from evoprune.cli import main
from tests.problems.language_model.small import BEGIN


def slow_perplexity(folder, source, windows, window):
    """Token by token, each from the beginning token and the text before it in its window."""
    model = AutoModelForCausalLM.from_pretrained(folder).requires_grad_(False)
    numbers, losses = [int(word[1:]) for word in source.read_text().split()], []
    for at in range(windows):
        row = numbers[at * (window - 1) : (at + 1) * (window - 1)]
        for place, token in enumerate(row):
            logits = model(torch.tensor([[BEGIN, *row[:place]]])).logits[0, -1]
            losses.append(-float(logits.log_softmax(0)[token]))
    return math.exp(sum(losses) / len(losses))


@pytest.fixture(scope="module")
def run(run_on):
    return run_on("llama", begin=True)


def test_report_export_and_eval_agree_with_a_slow_computation(run, tmp_path, capsys, monkeypatch):
    result = json.loads((run / "result.json").read_text())
    report = run.parent / "report.txt"
    assert result["protocol"]["report_text"]["begin"] == "w127"
    dense = slow_perplexity(run.parent / "model", report, 4, 32)
    assert result["perplexity"]["report"]["dense"] == pytest.approx(dense, rel=1e-4)
    assert main(["export", str(run), str(tmp_path / "out"), "--untimed"]) == 0
    exported = json.loads((tmp_path / "out" / "evoprune.json").read_text())
    evolved = slow_perplexity(tmp_path / "out", report, 4, 32)
    assert exported["check"]["perplexity"] == pytest.approx(evolved, rel=1e-4)
    assert exported["check"]["tokens_sha256"] == result["protocol"]["report_text"]["sha256"]
    capsys.readouterr()
    monkeypatch.chdir(run.parent)  # where the export's facts find the report text
    assert main(["eval", str(tmp_path / "out"), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["rows"][0]["perplexity"] == pytest.approx(evolved, rel=1e-4)
    assert table["protocol"]["begin"] == "w127"


@pytest.mark.parametrize("begin", ["auto", "false"])
def test_tasks_begin_as_the_windows_do(run, tmp_path, capsys, monkeypatch, begin):
    pytest.importorskip("lm_eval")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"context": "w1 w2", "word": " w3"}))
    task = {
        "task": "one_word", "dataset_path": "json", "test_split": "test", "output_type": "loglikelihood",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "doc_to_text": "{{context}}", "doc_to_target": "{{word}}", "metric_list": [{"metric": "perplexity"}],
    }  # fmt: skip
    (tmp_path / "one_word.yaml").write_text(yaml.safe_dump(task))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    capsys.readouterr()
    given = ["--tasks", "one_word", "--include-path", str(tmp_path), "--json"]
    for role in ("search_text", "report_text", "calibration_text"):
        given += ["--set", f"problem.{role}.begin={begin}"]
    assert main(["eval", str(run), *given]) == 0
    dense = json.loads(capsys.readouterr().out)["rows"][0]
    model = AutoModelForCausalLM.from_pretrained(run.parent / "model").requires_grad_(False)
    row = [BEGIN, 1, 2] if begin == "auto" else [1, 2]
    expected = math.exp(-float(model(torch.tensor([row])).logits[0, -1].log_softmax(0)[3]))
    assert dense["one_word perplexity"] == pytest.approx(expected, rel=1e-3)
