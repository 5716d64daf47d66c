"""Runs of the problems on a device: the histories of the CPU, to the bit where the device is simulated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evoprune.cli import main
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.records import recorded, run_folder
from tests.cuda.conftest import REAL
from tests.runs import candidates, finish, lines, result, wait_until

pytestmark = pytest.mark.slow

PROBLEMS = Path(__file__).parents[2] / "problems"
TRAINED = "recover={text: 'bundled:python-docs', split: train, tokens: 128, held_out: 1, evaluations: 1}"
SCALES = TRAINED.replace("}", ", train: scales}")
TYPES = "{use: types, types: [Q8_0, Q4_0], importance: false}"  # a GPU measures the importance by other kernels
CUTS = "{use: sublayers, genes: block}, {use: channels, genes: model, step: 64, drop: false}"
RUNS = {
    "gpt2_mini": [["population=4", "generations=1"], "curve=[0.3]"],
    "gpt2_mini_best": [["budget=500"], "curve=[0.3]"],
    "gpt2_mini_blocks": [["budget=500"]],
    "gpt2_mini_gguf": [["budget=200"], f"transforms={TYPES}", "budget.at_most=7.0", SCALES],
    "gpt2_mini_joint": [["budget=200"], f"transforms=[{CUTS}, {TYPES}]", "recover=null", "budget.at_most=200000"],
    "gpt2_mini_recovered": [["budget=200"], TRAINED],
    "moe_mini_experts": [["budget=200"], "transforms={use: experts, genes: model}"],
}


@pytest.fixture
def command(byte_models, tmp_path):
    """The arguments of a run of the problem ``name`` on a tiny model; its folder is in ``tmp_path``."""

    def of(name: str, *options: str) -> list[str]:
        search, *problem = RUNS[name]
        told = byte_models("qwen3_moe" if name.startswith("moe") else "gpt2")
        texts = [f"{key}={json.dumps(told[key])}" for key in ("model", *(key for key in told if key.endswith("_text")))]
        keys = [*search, *(f"problem.{key}" for key in ("batch_tokens=32", "held_out_windows=2", *texts, *problem))]
        chosen = [argument for key in keys for argument in ("--set", key)]
        return ["run", str(PROBLEMS / f"{name}.yaml"), "--runs-dir", str(tmp_path), *chosen, *options]

    return of


def figures(run: Path) -> dict[str, object]:
    """The result but for the name of the device and the times."""
    found = result(run)
    found["protocol"].pop("device")
    for trained in found.get("recovered", {}).values():
        trained.pop("minutes")
    return found


def assert_alike(on_cpu: Path, on_device: Path) -> None:
    if REAL:
        ends = [[line["fitness"] for line in lines(run) if "reference" in line] for run in (on_cpu, on_device)]
        for expected, found in zip(*ends, strict=True):
            assert found == pytest.approx(expected, rel=1e-3)
    else:
        assert lines(on_device) == lines(on_cpu)
        assert figures(on_device) == figures(on_cpu)


@pytest.mark.parametrize("name", RUNS)
def test_history_and_result_are_those_of_the_cpu(name, command, tmp_path):
    runs = [tmp_path / "cpu", tmp_path / "cuda"]
    for run, device in zip(runs, ("cpu", "cuda:0"), strict=True):
        assert main(command(name, "--name", run.name, "--devices", device)) == 0
    assert_alike(*runs)
    if name == "gpt2_mini_gguf":
        files = [tmp_path / f"exported-{run.name}.gguf" for run in runs]
        for run, out in zip(runs, files, strict=True):
            assert main(["export", str(run), str(out), "--untimed", "--set", f"problem.device={run.name}"]) == 0
        assert REAL or files[0].read_bytes() == files[1].read_bytes()


def test_a_run_on_two_devices_outlives_a_killed_worker(command, tmp_path, processes):
    on_cpu, run = tmp_path / "cpu", tmp_path / "cuda"
    assert main(command("gpt2_mini", "--name", "cpu", "--devices", "cpu")) == 0
    python = [sys.executable, "-m", "evoprune"]
    begun = subprocess.Popen(
        [*python, *command("gpt2_mini", "--name", "cuda", "--devices", "cuda:0,cuda:1", "-n", "2")],
        env=processes, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: run.is_dir() and (run / run_folder.HISTORY).exists() and len(candidates(run)) > 0, begun)
    os.kill(int(candidates(run)[0]["worker"].split(":")[1]), signal.SIGKILL)
    finish(begun)
    assert len({line["worker"] for line in recorded.lines(run / run_folder.HISTORY) if "worker" in line}) > 1
    assert_alike(on_cpu, run)


def test_prune_ends_with_a_checked_file(byte_models, tmp_path):
    out, text = tmp_path / "small", tmp_path / "text.txt"
    text.write_text(load_text(TextSettings(source="bundled:python-docs", split="train"), "text")[:40_000])
    place = ["--runs-dir", str(tmp_path), "--name", "run", "--devices", "cuda:0", "--out", str(out)]
    assert (
        main(["prune", byte_models("gpt2")["model"], "--sparsity=40%", "--time=2s", "--text", str(text), *place]) == 0
    )
    assert result(tmp_path / "run")["protocol"]["device"].startswith("cuda:0")
    assert (out / "model.safetensors").exists()
