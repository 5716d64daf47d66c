"""SCOOP and Dask across two hosts: the same history as on one, from both hosts' work, and nothing left behind."""

import contextlib
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evoprune.cli import main
from tests.multinode import hosts
from tests.runs import candidates, finish, lines, result, wait_until

pytestmark = pytest.mark.slow  # each starts hosts of its own

BENCHMARK = [
    "problems/rastrigin.yaml",
    "plugins=[tests.patient]",
    "problem.use=tests.patient:PatientBenchmark",
    "problem.function=rastrigin",
    "generations=2",
    "population=30",
]
PYTHON = [sys.executable, "-m", "dask"]


@pytest.fixture(scope="session")
def obstacle():
    """The reason why hosts cannot be made here, or None."""
    return hosts.obstacle()


@pytest.fixture
def pair(obstacle, tmp_path):
    """Two hosts that know each other; skips, saying why, where they cannot be made."""
    if obstacle:
        pytest.skip(obstacle)
    with contextlib.ExitStack() as end:
        made = hosts.pair(tmp_path)
        for host in made:
            end.callback(host.remove)
        for host, other in (made, made[::-1]):
            wait_until(lambda: host.start("ssh", "-oBatchMode=yes", other.name, "true").wait() == 0)  # noqa: B023
        yield made


@pytest.fixture
def evoprune(pair, tmp_path):
    """Starts the command line on the first host."""

    def call(command, *arguments):
        return pair[0].start(sys.executable, "-m", "evoprune", command, *arguments)

    return call


def run_here(experiment, folder):
    """Run ``experiment``, a file and settings, in this process; return the run's folder."""
    file, *settings = experiment
    sets = [option for setting in settings for option in ("--set", setting)]
    assert main(["run", file, "--runs-dir", str(folder), "--name", "alone", "--threads", "1", *sets]) == 0
    return folder / "alone"


def where(folder):
    """The hosts that have scored candidates; the run may be going on."""
    return {line.get("worker", "").split(":")[0] for line in candidates(folder) if not line["memo"]}


@pytest.fixture
def run(evoprune, tmp_path):
    """Starts ``experiment``, a file and settings; returns the process and the run's folder."""

    def call(experiment, name, *options):
        file, *settings = [*experiment, f"problem.log={tmp_path / name}.log"]
        sets = [option for setting in settings for option in ("--set", setting)]
        runs = tmp_path / "runs"
        process = evoprune("run", file, "--runs-dir", runs, "--name", name, "--threads", "1", *sets, *options)
        return process, runs / name

    return call


@pytest.fixture
def dask(pair, tmp_path):
    """The options that have a run use a scheduler on the first host, and workers started by ssh on both."""
    pytest.importorskip("distributed")
    address = f"tcp://{pair[0].address}:8786"
    log = {"stdout": (tmp_path / "dask").open("w"), "stderr": subprocess.STDOUT}
    patience = [
        f"DASK_DISTRIBUTED__COMM__TIMEOUTS__{name}=12s" for name in ("TCP", "CONNECT")
    ]  # with silent hosts; of 30 s
    scheduler = [*PYTHON, "scheduler", "--host", pair[0].address, "--no-dashboard"]
    pair[0].start("env", *patience, *scheduler, **log)
    for host in pair:
        worker = [*PYTHON, "worker", address, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0"]
        command = f"cd {hosts.ROOT} && PYTHONPATH={hosts.ROOT} {shlex.join(worker)} --local-directory {host.home}"
        pair[0].start("ssh", "-oBatchMode=yes", host.name, command, **log)
    wait_until(lambda: (tmp_path / "dask").read_text().count("Starting established connection") >= 2)
    return ["--map", "dask", "--scheduler", address]


def test_two_hosts_do_what_one_does(run, pair, dask, tmp_path):
    alone = run_here(BENCHMARK, tmp_path)
    process, both = run([*BENCHMARK, "problem.meet=2"], "both", *dask)
    finish(process)
    assert where(alone) == {""}
    assert where(both) == {host.name for host in pair}
    assert lines(both) == lines(alone)
    assert result(both) == result(alone)


@pytest.mark.ci
def test_the_slurm_script_for_scoop_runs_on_its_jobs_hosts(pair, tmp_path):
    alone = run_here(BENCHMARK, tmp_path)
    page = (hosts.ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    (script,) = (block for block in page.split("```") if block.startswith("bash\n#!/bin/bash"))
    (tmp_path / "scoop.sh").write_text(script.removeprefix("bash\n"))
    names = " ".join(host.name for host in pair)
    tool = tmp_path / "scontrol"  # SLURM's: prints the job's hosts
    tool.write_text(f"#!/bin/sh\nprintf '%s\\n' {names}\n")
    tool.chmod(0o755)
    activate = tmp_path / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"PATH={Path(sys.executable).parent}:{tmp_path}:$PATH\n")
    job = {"SUBMIT_DIR": tmp_path, "JOB_ID": 1, "JOB_NODELIST": "two", "NTASKS_PER_NODE": 1, "CPUS_PER_TASK": 1}
    environment = ["env", "DEVICES=cpu", *(f"SLURM_{key}={value}" for key, value in job.items())]
    settings = {"plugins": ["tests.patient"], "population": 30, "generations": 2}
    problem = {"use": "tests.patient:PatientBenchmark", "function": "rastrigin", "meet": 2, "log": f"{tmp_path}/log"}
    operators = yaml.safe_load((hosts.ROOT / "problems" / "rastrigin.yaml").read_text())["operators"]
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(settings | {"problem": problem, "operators": operators, "seed": 0}))
    finish(pair[0].start(*environment, "bash", tmp_path / "scoop.sh", file, "both"))
    both = tmp_path / "runs" / "both"
    assert where(both) == {host.name for host in pair}
    assert lines(both) == lines(alone)
    wait_until(lambda: pair[0].processes() == pair[1].processes() == [])
    (both / "result.json").unlink()
    finish(pair[0].start(*environment, "bash", tmp_path / "scoop.sh", file, "both"))  # submitted again, it goes on
    assert result(both) == result(alone)
