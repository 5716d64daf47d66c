"""A recovery as the last part of a run: measured and exported, refused before the search, changed when it goes on."""

import json

import pytest

from evoprune.api import Run
from evoprune.cli import main
from tests.problems.distillation.conftest import QUICK, ends_at_step_5, facts


def test_the_phase_of_a_run_is_measured_and_exported(run, tmp_path):
    told = {"tokens": 1024, "held_out": 4, "evaluations": 4, "rate": 0.001, "alike": "dense"}
    command = ["run", str(run.parent / "experiment.yaml"), "--set", f"problem.recover={json.dumps(told)}"]
    assert main([*command, "--runs-dir", str(tmp_path), "--name", "phased"]) == 0
    result = json.loads((tmp_path / "phased" / "result.json").read_text())
    row = result["recovered"]["evolved"]
    assert row["perplexity_after"] < row["perplexity_before"]
    assert not (tmp_path / "phased" / "recovery").exists()
    last = Run.open(tmp_path / "phased").compare().rows[-1]
    assert (last["model"], last["perplexity"]) == ("evolved, recovered", pytest.approx(row["perplexity_after"]))
    assert main(["export", str(tmp_path / "phased"), str(tmp_path / "out"), "--untimed"]) == 0
    assert facts(tmp_path / "out")["check"]["perplexity"] == pytest.approx(row["perplexity_after"], rel=1e-3)
    assert (tmp_path / "out" / "recovery.png").exists()
    assert main(["report", str(tmp_path / "phased")]) == 0
    page = (tmp_path / "phased" / "report.html").read_text()
    assert "Perplexity on held-out windows against the tokens trained on (evolved: " in page


def test_a_phase_that_was_interrupted_may_go_on_in_another_way(run, tmp_path, monkeypatch, capsys):
    told = {"tokens": 1024, "held_out": 4, "evaluations": 4, "rate": 0.001}
    command = ["run", str(run.parent / "experiment.yaml"), "--set", f"problem.recover={json.dumps(told)}"]
    folder = tmp_path / "phased"
    with monkeypatch.context() as patched:
        ends_at_step_5(patched, KeyboardInterrupt)
        assert main([*command, "--runs-dir", str(tmp_path), "--name", "phased"]) == 130
    before = (folder / "history.jsonl").read_bytes()
    assert main(["resume", str(folder), "--set", "problem.recover.train=norms"]) == 0
    assert (folder / "history.jsonl").read_bytes() == before
    row = json.loads((folder / "result.json").read_text())["recovered"]["evolved"]
    assert row["trained"].startswith("norms, ")
    capsys.readouterr()
    assert main(["recover", str(folder), "--out", str(tmp_path / "new"), *QUICK, "--alike", "dense"]) == 2
    assert "alike: the result was recovered before, and these were not" in capsys.readouterr().err


def test_a_phase_that_would_fill_zeros_is_refused_before_the_search(run, tmp_path, capsys):
    changed = [
        "problem.recover.train=lora",
        "problem.transforms=weights",
        "problem.budget={use: weights, removed: 0.5}",
    ]
    settings = [part for setting in changed for part in ("--set", setting)]
    command = ["run", str(run.parent / "experiment.yaml"), *settings, "--runs-dir", str(tmp_path), "--name", "phased"]
    assert main(command) == 2
    assert "low-rank updates would fill the zeros" in capsys.readouterr().err
    assert not (tmp_path / "phased").exists()


def test_a_phase_without_enough_text_is_refused_before_the_search(run, tmp_path, capsys):
    told = json.dumps({"tokens": 1024, "held_out": 400})
    command = ["run", str(run.parent / "experiment.yaml"), "--set", f"problem.recover={told}"]
    assert main([*command, "--runs-dir", str(tmp_path), "--name", "phased"]) == 2
    assert "expected 400 that are held out" in capsys.readouterr().err
    assert not (tmp_path / "phased").exists()
