"""What is SCOOP's own."""

import json
import os
import signal

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


def test_scoop_ends_with_the_command_that_is_killed(run_by, evoprune, workshop, whole, alive, tmp_path, gate):
    gate.admit(20)
    process, folder = run_by("--map scoop -n 2", workshop, f"problem.folder={tmp_path}")
    wait_until(lambda: len(gate.held()) >= 1, process)
    process.kill()
    wait_until(lambda: alive() == [])
    gate.open()
    assert evoprune("resume", folder).code == 0
    assert lines(folder) == lines(whole)


def test_scoop_may_start_us_itself(start, run, tmp_path):
    whole = run("problems/rastrigin.yaml", "generations=2", name="whole").folder
    folder = tmp_path / "runs" / "run"
    options = ["--set", "generations=2", "--runs-dir", folder.parent, "--name", "run"]
    arguments = ["run", "problems/rastrigin.yaml", *options]
    finish(start(*arguments, prefix=("-m", "scoop", "-q", "-n", "2", registry.HOME / "__main__.py")))
    assert lines(folder) == lines(whole)
    assert json.loads((folder / "environment.json").read_text())["execution"]["map"] == "scoop"


@pytest.mark.parametrize(("text", "fragment"), [(None, "cannot be read"), ("\n", "no host")])
def test_a_file_without_hosts_is_refused(evoprune, sphere, tmp_path, text, fragment):
    if text is not None:
        (tmp_path / "hosts").write_text(text)
    answer = evoprune("run", sphere, "--map", "scoop", "--hostfile", tmp_path / "hosts")
    assert answer.code == 2
    assert "--hostfile" in answer.err
    assert fragment in answer.err
