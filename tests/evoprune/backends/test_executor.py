"""Executors of other packages and of Python."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from evoprune import Evaluation, Gene, InputError, minimize
from evoprune.backends.base import Lost
from evoprune.backends.evaluation import worker_name
from evoprune.backends.execution import Execution
from evoprune.backends.executor import Executing, execution_of, given
from tests.runs import lines

GENES = [Gene("x", -1.0, 1.0), Gene("y", -1.0, 1.0)]
POOLS = """
import os
from concurrent.futures import ProcessPoolExecutor
from evoprune import Evaluation

def pool():
    return ProcessPoolExecutor(2)

def none():
    return 3

def score(genomes):
    if genomes[0][0] == 3:
        os._exit(9)
    return [Evaluation(genome) for genome in genomes]
"""


def bowl(x, y):
    return x**2 + y**2


def with_pool(executor, **more):
    return minimize(bowl, GENES, evaluations=60, workers=executor, **more)


@pytest.fixture
def pools(plugin):
    plugin("pools", POOLS)
    return __import__("pools")


def test_the_history_is_that_of_one_process(tmp_path):
    minimize(bowl, GENES, evaluations=60, folder=tmp_path / "serial")
    with ProcessPoolExecutor(2, get_context("fork")) as executor:
        with_pool(executor, folder=tmp_path / "pool")
        assert lines(tmp_path / "pool") == lines(tmp_path / "serial")
        assert executor.submit(int, "1").result() == 1  # it stays the caller's
    assert not given


def test_functions_that_cannot_be_imported_travel_where_the_executor_pickles_them():
    loky = pytest.importorskip("loky")
    found = []
    with loky.ProcessPoolExecutor(1) as executor:
        for factor in (1, 2):  # functions of one name, in workers that stay
            found.append(minimize(lambda x: factor + x**2, GENES[:1], evaluations=20, workers=executor).values)  # noqa: B023
    assert [round(value) for (value,) in found] == [1, 2]
    with ProcessPoolExecutor(1) as executor, pytest.raises(InputError, match="lambda"):
        minimize(lambda x: x, GENES[:1], workers=executor)


def test_threads_which_share_the_random_numbers_are_refused():
    with ThreadPoolExecutor(1) as executor, pytest.raises(InputError, match="ThreadPoolExecutor"):
        with_pool(executor)


def test_a_candidate_that_kills_its_worker_costs_itself_alone_where_a_factory_is_given(pools):
    with Executing(Execution("pools:pool", 2)) as backend:
        found = dict(backend.map(pools.score, [[float(number)] for number in range(6)]))
    assert "its worker died" in found.pop(3).failure
    assert [found[number] for number in sorted(found)] == [Evaluation((float(n),)) for n in (0, 1, 2, 4, 5)]


def test_a_given_executor_that_breaks_stops_the_run(pools):
    with ProcessPoolExecutor(1, get_context("fork")) as executor:
        execution = execution_of(executor)
        with Executing(execution) as backend, pytest.raises(Lost, match="broken"):
            list(backend.map(pools.score, [[3.0]]))
    given.clear()


def test_an_executor_that_was_shut_down_is_refused_or_stops_the_run(pools):
    executor = ProcessPoolExecutor(1, get_context("fork"))
    with Executing(execution_of(executor)) as backend:
        executor.shutdown()
        with pytest.raises(Lost):
            list(backend.map(pools.score, [[1.0]]))
        with pytest.raises(InputError):
            with_pool(executor)
    given.clear()


def test_the_command_takes_a_factory(run, evoprune, sphere, pools, tmp_path):
    serial = run(sphere, "generations=1", name="serial")
    answer = evoprune("run", sphere, "--set", "generations=1", "--runs-dir", tmp_path / "runs", "--name", "pool",
                      "--map", "pools:pool", "-n", "2")  # fmt: skip
    assert answer.code == 0, answer.err
    assert lines(tmp_path / "runs" / "pool") == lines(serial.folder)


@pytest.mark.parametrize("name", ["pools:none", "pools:absent", "no_such_module:pool", "pool"])
def test_a_wrong_factory_is_refused_in_one_line(evoprune, sphere, pools, tmp_path, name):
    answer = evoprune("run", sphere, "--runs-dir", tmp_path / "runs", "--map", name)
    assert answer.code == 2
    assert "--map" in answer.err
    assert not [*tmp_path.glob("runs/*")]


def test_a_task_knows_its_worker(pools):
    with Executing(Execution("pools:pool", 1)) as backend:
        ((_, evaluation),) = backend.map(_where, [[1.0]])
    assert evaluation.worker not in ("", worker_name())


def _where(genomes):
    from evoprune.backends.evaluation import this_worker

    return [Evaluation(genome, worker=this_worker.name) for genome in genomes]
