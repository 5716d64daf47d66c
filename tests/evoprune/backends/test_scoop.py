"""What is SCOOP's own."""

import json
import os
import signal

import psutil
import pytest

from evoprune.experiment import registry
from tests.runs import finish, lines, wait_until


@pytest.mark.slow
def test_scoop_stops_in_order_when_a_worker_is_lost(run_by, evoprune, workshop, whole, alive, tmp_path, gate):
    gate.admit(20)
    process, folder = run_by("--map scoop -n 2 --stall-after 10", workshop, f"problem.folder={tmp_path}")
    wait_until(lambda: len(gate.held()) == 2, process)
    (other,) = gate.held() - {json.loads((folder / "status.json").read_text())["pid"]}
    os.kill(other, signal.SIGKILL)
    gate.open()
    errors = finish(process, 3)
    assert "without a score: " in errors
    assert f"python -m evoprune resume {folder}" in errors
    wait_until(lambda: alive() == [])
    assert evoprune("resume", folder).code == 0
    assert lines(folder) == lines(whole)


def test_scoop_may_start_us_itself(start, run, tmp_path, no_figures):
    whole = run("problems/rastrigin.yaml", "generations=2", name="whole").folder
    folder = tmp_path / "runs" / "run"
    arguments = [
        "run",
        "problems/rastrigin.yaml",
        "--set",
        "generations=2",
        "--runs-dir",
        folder.parent,
        "--name",
        "run",
    ]
    finish(start(*arguments, prefix=("-m", "scoop", "-q", "-n", "2", registry.HOME / "evoprune" / "__main__.py")))
    assert lines(folder) == lines(whole)
    assert json.loads((folder / "environment.json").read_text())["execution"]["map"] == "scoop"


def test_scoop_on_one_host_listens_on_the_loopback_alone(run_by, workshop, alive, tmp_path, gate):
    gate.admit(2)
    process, _ = run_by("--map scoop -n 2", workshop, f"problem.folder={tmp_path}")
    wait_until(lambda: len(gate.held()) == 2, process)
    sockets = [one for pid in alive() for one in psutil.Process(pid).net_connections() if one.status == "LISTEN"]
    assert len(sockets) >= 3  # of the broker and of each worker
    assert {one.laddr.ip.removeprefix("::ffff:") for one in sockets} == {"127.0.0.1"}
    gate.open()
    finish(process)


@pytest.mark.parametrize(("text", "fragment"), [(None, "cannot be read"), ("\n", "no host")])
def test_a_file_without_hosts_is_refused(evoprune, sphere, tmp_path, text, fragment):
    if text is not None:
        (tmp_path / "hosts").write_text(text)
    answer = evoprune("run", sphere, "--map", "scoop", "--hostfile", tmp_path / "hosts")
    assert answer.code == 2
    assert "--hostfile" in answer.err
    assert fragment in answer.err


@pytest.mark.parametrize(("settings", "code"), [(["population=3", "generations=x"], 2), (["max_failures=0"], 3)])
def test_the_exit_code_comes_through_scoop(run_by, workshop, settings, code):
    failing = ["problem.low=-1e300", "problem.up=1e300", "problem.function=sphere"]  # whose squares are infinite
    process, _ = run_by("--map scoop -n 2", workshop, *failing, *settings)
    errors = finish(process, code)
    assert "Traceback" not in errors
    assert [line for line in errors.splitlines() if line.startswith("evoprune: ")]


def test_what_scoop_says_when_the_origin_ends_without_an_answer(run_by, workshop, tmp_path, gate):
    gate.admit(2)
    process, folder = run_by("--map scoop -n 2", workshop, f"problem.folder={tmp_path}")
    wait_until(lambda: len(gate.held()) == 2, process)
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)
    assert "evoprune: the command that SCOOP ran ended without an exit code" in finish(process, 1)
