"""Runs of the problems on a device: the histories of the CPU, to the bit where the device is simulated."""

from __future__ import annotations

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
TEXTS = [f"{text}_text.{key}" for text in ("search", "report") for key in ("window=64", "windows=2")]
CALIBRATED = ["calibration_text.window=64", "calibration_text.windows=2"]
TRAINED = "recover={text: 'bundled:python-docs', split: train, tokens: 128, held_out: 1, evaluations: 1}"
SCALES = TRAINED.replace("}", ", train: scales}")
TYPES = "transforms={use: types, importance: false}"  # a GPU measures the importance by other kernels
RUNS = {
    "gpt2_mini": [["population=4", "generations=1"]],
    "gpt2_mini_best": [["budget=1000"]],
    "gpt2_mini_blocks": [["budget=1000"]],
    "gpt2_mini_gguf": [["budget=400"], *CALIBRATED, TYPES, SCALES],
    "gpt2_mini_joint": [["budget=400"], *CALIBRATED, "recover=null"],
    "gpt2_mini_recovered": [["budget=400"], TRAINED],
    "moe_mini_experts": [["budget=1000"], *CALIBRATED],
}


def command(name: str, home: Path, *options: str) -> list[str]:
    """The arguments of a small run of the problem ``name``; its folder is in ``home``."""
    search, *problem = RUNS[name]
    keys = [*search, *(f"problem.{key}" for key in ("batch_tokens=256", *TEXTS, *problem))]
    chosen = [argument for key in keys for argument in ("--set", key)]
    return ["run", str(PROBLEMS / f"{name}.yaml"), "--runs-dir", str(home), *chosen, *options]


def on_both(name: str, home: Path) -> list[Path]:
    """The folders of the run on the CPU and on a device."""
    for device in ("cpu", "cuda:0"):
        assert main(command(name, home, "--name", device[:4].strip(":"), "--devices", device)) == 0
    return [home / "cpu", home / "cuda"]


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
def test_history_and_result_are_those_of_the_cpu(name, tmp_path):
    runs = on_both(name, tmp_path)
    assert_alike(*runs)
    if name == "gpt2_mini_gguf":
        files = [tmp_path / f"exported-{run.name}.gguf" for run in runs]
        for run, out in zip(runs, files, strict=True):
            assert main(["export", str(run), str(out), "--untimed", "--set", f"problem.device={run.name}"]) == 0
        assert REAL or files[0].read_bytes() == files[1].read_bytes()


def test_killed_worker_and_run_on_two_devices_are_resumed(tmp_path, processes):
    on_cpu, run = tmp_path / "cpu", tmp_path / "cuda"
    assert main(command("gpt2_mini", tmp_path, "--name", "cpu", "--devices", "cpu")) == 0
    workers = ["--devices", "cuda:0,cuda:1", "-n", "2"]
    python = [sys.executable, "-m", "evoprune"]
    begun = subprocess.Popen(
        [*python, *command("gpt2_mini", tmp_path, "--name", "cuda", *workers)],
        env=processes, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: run.is_dir() and (run / run_folder.HISTORY).exists() and len(candidates(run)) > 0, begun)
    os.kill(int(candidates(run)[0]["worker"].split(":")[1]), signal.SIGKILL)
    wait_until(lambda: len(candidates(run)) > 1, begun)
    begun.kill()
    begun.communicate()
    finish(subprocess.Popen([*python, "resume", str(run), *workers], env=processes, stderr=subprocess.PIPE, text=True))
    assert len({line["worker"] for line in recorded.lines(run / run_folder.HISTORY) if "worker" in line}) > 2
    assert_alike(on_cpu, run)


def test_prune_ends_with_a_checked_file(tmp_path):
    out, text = tmp_path / "small", tmp_path / "text.txt"
    text.write_text(load_text(TextSettings(source="bundled:python-docs", split="train"), "text")[:40_000])
    place = ["--runs-dir", str(tmp_path), "--name", "run", "--devices", "cuda:0", "--out", str(out)]
    assert main(["prune", "bundled:gpt2-mini", "--sparsity=40%", "--time=5s", "--text", str(text), *place]) == 0
    assert result(tmp_path / "run")["protocol"]["device"].startswith("cuda:0")
    assert (out / "model.safetensors").exists()
