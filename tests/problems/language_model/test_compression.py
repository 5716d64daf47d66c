"""Cut, recovered and quantised in one run: the file is what is said, and a run goes on in each of its phases."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file

from evoprune.cli import main
from evoprune.problems.language_model.distillation.training import Training
from tests.runs import lines, result

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

SETTINGS = [
    "problem.transforms=[{use: sublayers, genes: block}, {use: channels, genes: model, step: 64, drop: false}, "
    "{use: types, types: [Q8_0, Q5_0, Q4_0]}]",
    "problem.budget.at_most=150000",
    "problem.search_text={source: 'bundled:python-docs', split: validation, window: 32, windows: 8}",
    "problem.report_text={source: 'bundled:python-docs', split: test, window: 32, windows: 8}",
    "problem.calibration_text={source: 'bundled:python-docs', split: validation, window: 32, windows: 16}",
    "problem.recover={text: 'bundled:python-docs', split: train, tokens: 2048, window: 32, evaluations: 4, "
    "rate: 0.0003, patience: 4}",
    "budget=6000",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The folder of a finished run on a tiny model; ``tests/docs/test_commands.py`` makes one on the bundled model."""
    home = tmp_path_factory.mktemp("joint")
    told = [word for setting in [f"problem.model={tiny}", *SETTINGS] for word in ("--set", setting)]
    assert main(["run", "problems/gpt2_mini_joint.yaml", *told, "--runs-dir", str(home), "--name", "whole"]) == 0
    return home / "whole"


def timeless(folder):
    found = result(folder)
    for row in found["recovered"].values():
        del row["minutes"]
    return found


@pytest.mark.slow
def test_a_run_that_ended_in_its_search_and_in_its_recovery_goes_on_and_ends_alike(whole, tmp_path, monkeypatch):
    cut, step = shutil.copytree(whole, tmp_path / "cut"), Training._step
    for name in ("result.json", "recovered.safetensors"):
        (cut / name).unlink()
    history = (whole / "history.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "history.jsonl").write_bytes(b"".join(history[: len(history) // 2]))

    def interrupted(training, number, rate):
        if number == 9:
            raise KeyboardInterrupt
        return step(training, number, rate)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_step", interrupted)
        assert main(["resume", str(cut)]) == 130
    assert lines(cut) == lines(whole)
    assert main(["resume", str(cut)]) == 0
    assert lines(cut) == lines(whole)
    assert timeless(cut) == timeless(whole)
    weights, expected = (load_file(folder / "recovered.safetensors") for folder in (cut, whole))
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
