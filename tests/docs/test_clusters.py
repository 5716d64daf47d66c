"""The scripts of docs/clusters.md, with SLURM's commands played by small scripts."""

import importlib
import json
import os
import subprocess
import sys

import pytest

from evoprune.records import recorded
from tests.docs.conftest import ROOT, blocks, commands

PAGE = ROOT / "docs" / "clusters.md"
SLURM = {  # sbatch starts the job at once, on this host
    "sbatch": """\
job=$(mktemp "$PLAYED/job.XXXXXX")
cp "$1" "$job"
grep '^#SBATCH' "$job" >> "$PLAYED/directives"
setsid bash "$job" > "$job.out" 2>&1 &
echo "Submitted batch job $!"
""",
    "scancel": 'for job; do kill -KILL -- "-$job"; done\n',
}


def test_the_shell_can_read_the_scripts():
    for block in blocks(PAGE):
        if block.language == "bash":
            done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr


def test_dask_knows_the_options():
    cli = pytest.importorskip("distributed.cli")
    found = [words[3:] for words in commands(PAGE) if words[:3] == ["python", "-m", "dask"]]
    assert found
    for command, *arguments in found:
        assert importlib.import_module(f"{cli.__name__}.dask_{command}").main.make_context("", arguments)


def test_the_script_for_dask_runs_on_workers_that_are_jobs(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "tools").mkdir()
    for name, text in SLURM.items():
        (tmp_path / "tools" / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / "tools" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:{os.environ['PATH']}")
    monkeypatch.setenv("PLAYED", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "slurm_dask.py").write_text(next(block.text for block in blocks(PAGE) if block.language == "python"))
    run = "run problems/rastrigin.yaml --set generations=2 --name a --devices cpu --threads 1"
    command = [sys.executable, "slurm_dask.py", "2", *run.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs" / "a" / "status.json").read_text())["state"] == "done"
    scored = [line for line in recorded.lines(tmp_path / "runs" / "a" / "history.jsonl") if "candidate" in line]
    assert all(line["worker"] for line in scored if not line["memo"])
    directives = (tmp_path / "directives").read_text()
    assert "#SBATCH --gres=gpu:1" in directives
    assert "#SBATCH --cpus-per-task=4" in directives
