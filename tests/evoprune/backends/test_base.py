from evoprune import Evaluation
from evoprune.backends.base import Serial


def times_out_of(failures):
    """A function that fails so often at each genome, and the list of its calls."""
    calls = []

    def function(genome):
        calls.append(tuple(genome))
        failed = calls.count(tuple(genome)) <= failures
        return Evaluation((), failure="not now") if failed else Evaluation((sum(genome),))

    return function, calls


def test_what_fails_is_tried_once_more_and_then_is_a_failure():
    genomes = [[1.0], [2.0]]
    for failures, tries in [(0, 1), (1, 2), (2, 2), (9, 2)]:
        function, calls = times_out_of(failures)
        results = dict(Serial().map(function, genomes))
        assert len(calls) == 2 * tries
        assert [results[index].failure for index in (0, 1)] == 2 * ["not now" if failures > 1 else None]


def test_slower_calls_may_take_longer_before_the_run_counts_as_stalled():
    backend = Serial()
    list(backend.map(lambda _: Evaluation((0.0,), seconds=20.0), [[1.0]]))
    before = backend.stall_after
    assert before == 200.0 < Serial().stall_after  # nothing is known before the first result
    list(backend.map(lambda _: Evaluation((0.0,)), [[1.0]], slower=3.0))
    assert backend.stall_after == 3 * before
