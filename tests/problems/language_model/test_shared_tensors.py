"""Real processes share a real file."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from problems.language_model.shared_tensors import shared

SCRIPT = """
import sys, torch
from problems.language_model.shared_tensors import shared
def build():
    print("built", flush=True)
    return {"weights": torch.arange(1000.)}
tensors = shared("a", build, build)
print(tensors["weights"].sum().item(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path / f"evoprune-{os.getuid()}"


def start():
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def test_the_first_builds_the_others_map_and_the_last_deletes(folder):
    first = start()
    assert [first.stdout.readline() for _ in range(2)] == ["built\n", "499500.0\n"]
    second = start()
    assert second.stdout.readline() == "499500.0\n"
    first.communicate("\n")
    assert (folder / "a.safetensors").exists()
    second.communicate("\n")
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_is_swept_up(folder):
    killed = start()
    assert [killed.stdout.readline() for _ in range(2)] == ["built\n", "499500.0\n"]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (folder / "a.safetensors").exists()
    other = shared("b", lambda: {"x": torch.ones(3)}, start)
    assert other["x"].tolist() == [1, 1, 1]
    assert not (folder / "a.safetensors").exists()


def test_a_file_goes_with_its_last_holder(folder):
    class Holder:
        pass

    holder = Holder()
    tensors = shared("a", lambda: {"x": torch.ones(3)}, holder)
    assert (folder / "a.safetensors").exists()
    del holder
    assert list(folder.iterdir()) == []
    assert tensors["x"].sum() == 3
