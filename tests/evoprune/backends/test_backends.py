"""What every backend must keep."""

import json
import os
import re
import signal

import psutil
import pytest

from tests.runs import candidates, finish, lines, result, wait_until

DASK = pytest.param("--map dask -n 2", marks=pytest.mark.slow)
PARALLEL = ["--map processes -n 2", "--map scoop -n 2", DASK]


def test_the_history_is_the_same_with_every_backend(run, run_by, alive):
    """Those of SCOOP and Dask are compared below, of runs with less luck."""
    settings = ["problems/rastrigin.yaml", "plugins=[tests.patient]", "generations=2"]  # the plugin draws nothing
    serial = run(*settings, name="serial").folder
    assert len(lines(serial)) > 200
    process, folder = run_by("-n 3", *settings)
    finish(process)
    assert lines(folder) == lines(serial)
    assert result(folder) == result(serial)
    assert alive() == []


@pytest.mark.parametrize("options", ["--map processes -n 1", DASK])
def test_a_candidate_that_kills_its_worker_costs_itself_alone(run_by, workshop, tmp_path, monkeypatch, options):
    monkeypatch.setenv("DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT", "1ms")  # as on a host where starting is slow
    settings = [f"problem.folder={tmp_path}", "problem.trouble=die", "problem.when_above=4.8", "generations=0"]
    process, folder = run_by(f"{options} --stall-after 300", workshop, *settings, "seed=1")
    finish(process)
    failed = [line for line in candidates(folder) if "failure" in line]
    assert 0 < len(failed) < 4 < len(candidates(folder))
    assert all(line["genome"][0] > 4.8 and line["fitness"] == [None] for line in failed)
    if "processes" in options:
        assert all(line["failure"] == "its worker died (SIGKILL)" for line in failed)
    assert all(line["genome"][0] <= 4.8 for line in candidates(folder) if "failure" not in line)


def places(folder):
    """The process, device and threads of each worker that has scored a candidate."""
    told = (line["measures"] for line in candidates(folder) if "measures" in line)
    return {(where["pid"], where["device"], where["threads"]) for where in told}


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (PARALLEL[0], signal.SIGINT),
        (PARALLEL[1], signal.SIGTERM),
        pytest.param(*DASK.values, signal.SIGINT, marks=pytest.mark.slow),
    ],
    ids=["processes-int", "scoop-term", "dask-int"],
)
def test_workers_share_out_devices_and_leave_no_process_when_interrupted_and_the_run_can_be_resumed_here(
    run_by, evoprune, workshop, whole, alive, tmp_path, gate, monkeypatch, options, number
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the seats are; all of a user's runs share those of a host
    options += " --devices cuda:0,cuda:1 --threads 3"
    gate.admit(2)
    process, folder = run_by(options, workshop, "problem.trouble=tell", f"problem.folder={tmp_path}")
    wait_until(lambda: len(gate.held()) == 2, process)
    if "scoop" in options:  # the broker and each worker unpickle what they receive
        sockets = [one for pid in alive() for one in psutil.Process(pid).net_connections() if one.status == "LISTEN"]
        assert len(sockets) >= 3
        assert {one.laddr.ip.removeprefix("::ffff:") for one in sockets} == {"127.0.0.1"}
    gate.admit(18)
    wait_until(lambda: len(places(folder)) == len(gate.held()) == 2, process)
    process.send_signal(number)
    errors = finish(process, 130)
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "evoprune: interrupted"
    assert f"python -m evoprune resume {folder}" in errors
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    wait_until(lambda: alive() == [])
    assert len(places(folder)) == 2
    assert {place[1:] for place in places(folder)} == {("cuda:0", "3"), ("cuda:1", "3")}
    known = [line["genome"] for line in candidates(folder)]
    execution = json.loads((folder / "environment.json").read_text())["execution"]
    assert (execution["workers"], execution["threads"]) == (2, 3)
    log = tmp_path / "scored"
    log.write_text("")
    gate.open()
    assert evoprune("resume", folder).code == 0
    told_alike = [{key: value for key, value in line.items() if key != "measures"} for line in lines(folder)]
    assert told_alike == lines(whole)
    assert result(folder) == result(whole)
    assert not [genome for genome in map(json.loads, log.read_text().splitlines()) if genome in known]


@pytest.mark.parametrize("options", PARALLEL)
def test_when_the_main_process_is_killed_no_worker_stays_and_the_run_can_be_resumed(
    run_by, evoprune, workshop, whole, alive, tmp_path, gate, options
):
    """Its candidates that fail once are scored by another worker."""
    gate.admit(20)
    settings = [f"problem.folder={tmp_path}", "problem.trouble=fail once", "problem.when_above=2"]
    process, folder = run_by(options, workshop, *settings)
    busy = 1 if "scoop" in options else 2  # of SCOOP's workers one may have been given all calls
    wait_until(lambda: len(gate.held()) >= busy, process)
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (1 if "scoop" in options else -signal.SIGKILL)
    assert ("SCOOP ran ended without an exit code" in errors) == ("scoop" in options)
    wait_until(lambda: alive() == [])
    failed = {float(path.name.removeprefix("tried-")): path.read_text() for path in tmp_path.glob("tried-*")}
    scored = {gene: line["worker"] for line in candidates(folder) if (gene := line["genome"][0]) in failed}
    assert scored
    if "processes" in options:  # the others do not say who gets a call
        assert all(not worker.endswith(f":{failed[gene]}") for gene, worker in scored.items())
    gate.open()
    assert evoprune("resume", folder).code == 0
    assert lines(folder) == lines(whole)
    assert result(folder) == result(whole)


@pytest.mark.parametrize("options", ["--map processes -n 2", DASK])
def test_workers_that_are_killed_do_not_disturb_the_run(run_by, workshop, whole, alive, tmp_path, gate, options):
    gate.admit(14)
    process, folder = run_by(options, workshop, f"problem.folder={tmp_path}")
    for _ in range(2):
        wait_until(lambda: len(gate.held()) == 2, process)
        os.kill(min(gate.held()), signal.SIGKILL)
        gate.admit(6)
    gate.open()
    finish(process)
    assert lines(folder) == lines(whole)
    assert result(folder) == result(whole)
    assert alive() == []


@pytest.mark.parametrize("options", PARALLEL)
def test_a_candidate_that_never_ends_stops_the_run(run_by, workshop, alive, options):
    process, folder = run_by(options + " --stall-after 1", workshop, "problem.trouble=hang", "problem.when_above=3")
    errors = finish(process, 3)
    assert re.search(r"no result for \d+ s", errors)
    missing = errors.split("without a score: ")[1].split(";")[0].split()
    assert missing
    assert f"python -m evoprune resume {folder}" in errors
    wait_until(lambda: alive() == [])
