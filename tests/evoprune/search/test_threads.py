"""BLAS threads: one in each step of an algorithm, the caller's number in evaluations."""

from itertools import pairwise

from threadpoolctl import threadpool_info, threadpool_limits

from evoprune import Gene, minimize

GENES = [Gene(f"x{place}", -2, 2) for place in range(4)]


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_the_history_does_not_depend_on_the_threads_of_blas_and_evaluations_keep_theirs():
    seen, histories = [], []

    def rosenbrock(genome):
        seen.append(blas_threads())
        return sum(100 * (after - before**2) ** 2 + (1 - before) ** 2 for before, after in pairwise(genome))

    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            histories.append(minimize(rosenbrock, GENES, algorithm="cma", evaluations=150).history)
        assert seen.pop() == {threads}
    assert histories[0] == histories[1]
