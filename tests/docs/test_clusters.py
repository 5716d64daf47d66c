"""The scripts of docs/clusters.md, with SLURM's commands played by small scripts."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from evoprune.experiment import registry
from evoprune.records import recorded

PAGE = registry.HOME / "docs" / "clusters.md"

SBATCH = """\
#!/bin/sh
# starts the job at once, on this host
job=$(mktemp "$PLAYED/job.XXXXXX")
cp "$1" "$job"
grep '^#SBATCH' "$job" >> "$PLAYED/directives"
setsid bash "$job" > "$job.out" 2>&1 &
echo "Submitted batch job $!"
"""

SCANCEL = """\
#!/bin/sh
for job; do kill -KILL -- "-$job"; done
"""


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def commands(module):
    """The arguments of the page's commands that run ``module``, without those inside scripts."""
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[3:] for line in lines if line.startswith(f"python -m {module} ")]


@pytest.mark.parametrize("block", blocks("bash"), ids=lambda block: block.split("\n")[0][:40])
def test_the_shell_can_read_it(block):
    done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", commands("dask"), ids=" ".join)
def test_dask_knows_the_options(arguments):
    cli = pytest.importorskip("distributed.cli")
    assert importlib.import_module(f"{cli.__name__}.dask_{arguments[0]}").main.make_context("", arguments[1:])


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder to work in, with a SLURM of our own on the path."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("PLAYED", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(registry.HOME))
    return tmp_path


def test_the_script_for_dask_runs_on_workers_that_are_jobs(slurm):
    pytest.importorskip("dask_jobqueue")
    (slurm / "slurm_dask.py").write_text(blocks("python")[0])
    command = [sys.executable, "slurm_dask.py", "2", "run", "problems/rastrigin.yaml", "--set", "generations=2"]
    done = subprocess.run(
        [*command, "--name", "a", "--devices", "cpu", "--threads", "1"],
        cwd=slurm,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((slurm / "runs" / "a" / "status.json").read_text())["state"] == "done"
    scored = [line for line in recorded.lines(slurm / "runs" / "a" / "history.jsonl") if "candidate" in line]
    assert all(line["worker"] for line in scored if not line["memo"])
    directives = (slurm / "directives").read_text()
    assert "#SBATCH --gres=gpu:1" in directives
    assert "#SBATCH --cpus-per-task=4" in directives
