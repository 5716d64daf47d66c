import multiprocessing
import os
import signal
from functools import partial

from evoprune import Evaluation
from evoprune.backends.base import Serial
from evoprune.backends.evaluation import failed
from evoprune.backends.execution import Execution
from evoprune.backends.processes import Processes


def unchanged(genomes):
    return [Evaluation(genome) for genome in genomes]


def times_out_of(failures):
    """A function that fails so often at each genome, and the list of its calls."""
    calls = []

    def function(genomes):
        (genome,) = genomes
        calls.append(genome)
        failed = calls.count(genome) <= failures
        return [Evaluation((), failure="not now") if failed else Evaluation((sum(genome),))]

    return function, calls


def test_what_fails_is_tried_once_more_and_then_is_a_failure():
    genomes = [[1.0], [2.0]]
    for failures, tries in [(0, 1), (1, 2), (2, 2), (9, 2)]:
        function, calls = times_out_of(failures)
        results = dict(Serial().map(function, genomes))
        assert len(calls) == 2 * tries
        assert [results[index].failure for index in (0, 1)] == 2 * ["not now" if failures > 1 else None]


def test_what_is_scored_together_is_tried_once_more_alone():
    genomes = [[1.0], [2.0], [3.0]]

    def function(dies, calls, given):
        calls.append([*given])
        if len(given) > 1 and dies:
            return failed("its worker died", "here")
        return [Evaluation((), failure="never") if genome == (2.0,) else Evaluation(genome) for genome in given]

    for dies, again in ((False, [(2.0,)]), (True, [(1.0,), (2.0,), (3.0,)])):
        calls = []
        found = dict(Serial().map(partial(function, dies, calls), genomes, batch=True))
        assert calls == [[(1.0,), (2.0,), (3.0,)], *([genome] for genome in again)]
        assert [found[index].failure for index in range(3)] == [None, "never", None]
        assert found[2].values == (3.0,)


def test_each_worker_gets_its_share_at_once_and_as_much_more_time():
    backend, given = Serial(), []
    backend.workers = 2

    def function(genomes):
        given.append(len(genomes))
        return [Evaluation((0.0,), seconds=20.0) for _ in genomes]

    assert len(list(backend.map(function, [[1.0], [2.0], [3.0]], batch=True))) == 3
    assert given == [2, 1]
    assert backend.stall_after == 2 * 200.0


def test_an_idle_process_that_is_killed_is_replaced():
    with Processes(Execution("processes", 2)) as backend:
        for _ in range(2):
            found = dict(backend.map(unchanged, [[1.0], [2.0], [3.0]]))
            assert [found[index].values for index in range(3)] == [(1.0,), (2.0,), (3.0,)]
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
