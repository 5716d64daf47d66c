"""What is Dask's own."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from evoprune import Evaluation
from evoprune.backends.execution import Execution
from tests.runs import candidates, finish, lines, wait_until

pytestmark = pytest.mark.slow  # each starts workers of its own, and a scheduler


def test_a_scheduler_of_dask_may_be_there_already_whose_workers_score_one_at_a_time(
    run_by, workshop, whole, tmp_path, gate
):
    distributed = pytest.importorskip("distributed")
    gate.admit(2)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=4, dashboard_address=None) as cluster:
        options = f"--map dask --scheduler {cluster.scheduler_address}"
        process, folder = run_by(options, workshop, f"problem.folder={tmp_path}", "problem.trouble=overlap")
        wait_until(lambda: len(gate.held()) == 2, process)
        gate.open()
        finish(process)
    assert len({line["worker"] for line in candidates(folder)}) == 2
    assert lines(folder) == lines(whole)


def test_a_run_stops_in_order_when_dasks_scheduler_is_lost(run_by, start, evoprune, workshop, tmp_path, gate):
    pytest.importorskip("distributed")
    address = tmp_path / "scheduler.json"
    listen = ["--host", "127.0.0.1", "--port", "0"]
    dask = [start(*listen, "--scheduler-file", address, prefix=("-m", "dask", "scheduler"))]
    wait_until(lambda: address.exists() and address.read_text().endswith("}"), dask[0])
    dask += [start("--scheduler-file", address, "--nthreads", "1", prefix=("-m", "dask", "worker")) for _ in range(2)]
    options = f"--map dask --scheduler {json.loads(address.read_text())['address']} --stall-after 20"
    gate.admit(20)
    process, folder = run_by(options, workshop, f"problem.folder={tmp_path}")
    wait_until(lambda: len(gate.held()) == 2, process)
    dask[0].kill()
    gate.open()
    errors = finish(process, 3)
    assert "Dask's scheduler is gone; without a score: " in errors
    assert "Traceback" not in errors
    held = len(candidates(folder))
    assert evoprune("resume", folder).code == 0
    assert len(candidates(folder)) > held


def test_dask_is_not_asked_while_its_thread_is_held_and_an_idle_worker_may_die(monkeypatch):
    pytest.importorskip("distributed")
    from evoprune.backends import dask

    unchanged = lambda genomes: [Evaluation(genome) for genome in genomes]  # noqa: E731 - sent whole to the workers
    monkeypatch.setattr(dask, "_RECOUNT", 0.0)  # so that the workers are due to be counted whenever they can be
    with dask.Dask(Execution("dask", 2)) as backend, ThreadPoolExecutor() as pool:
        with backend.at_work():
            expected = [(0, Evaluation((1.0,))), (1, Evaluation((2.0,)))]
            assert sorted(backend.map(unchanged, [[1.0], [2.0]])) == expected
        assert pool.submit(lambda: backend.workers).result(timeout=20) == 2
        with backend.at_work():
            os.kill(min(backend._client.run(os.getpid).values()), signal.SIGKILL)  # an idle worker
            assert len(list(backend.map(unchanged, [[1.0], [2.0]]))) == 2
