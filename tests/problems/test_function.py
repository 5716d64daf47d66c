"""A fault of a user's function is its candidate's alone."""

import numpy
import pytest

from evoprune import Evaluation, Gene, minimize
from evoprune.api import read_history
from evoprune.api.function import Function
from evoprune.experiment import registry

GENES = [Gene("x", 0.0, 1.0), Gene("y", 0.0, 1.0)]
HOW = {"evaluations": 60, "algorithm": "random_search"}


def stops(x):
    """Raise StopIteration for some candidates, as ``next`` of an empty iterator does."""
    return next(iter([] if 0.4 < x < 0.5 else [x]))


@pytest.mark.parametrize(
    ("f", "how"),
    [
        (lambda genome: stops(genome[0]), {}),
        (lambda x, y: stops(x) + y, {}),
        (lambda x, y: x + y, {"constraints": [lambda x: stops(x) - 1]}),
        (lambda x, y: numpy.array([stops(one) for one in x]) + y, {"batch": True}),
    ],
    ids=["list", "names", "constraint", "batch"],
)
def test_a_function_that_raises_stop_iteration_fails_at_this_candidate_alone(f, how, tmp_path):
    minimize(f, GENES, folder=tmp_path / "run", **HOW, **how)
    lines = [*read_history(tmp_path / "run")[0].itertuples()]
    failed = [line.genome[0] for line in lines if isinstance(line.failure, str)]
    assert sorted(failed) == sorted(x for x, _ in (line.genome for line in lines) if 0.4 < x < 0.5)
    assert 0 < len(failed) < len(lines)
    assert all("StopIteration" in line.failure for line in lines if isinstance(line.failure, str))


def test_a_batch_of_wrong_rows_fails_alone_and_also_its_candidates_one_by_one(monkeypatch):
    answers = [[1.0], [1.0], [1.0, 2.0], [3.0]]
    monkeypatch.setitem(registry.local_functions, "rows", lambda table: answers.pop(0))
    genes = [{"name": gene.name} for gene in GENES]
    problem = Function(Function.Settings(call="rows", genes=genes, batch=True))
    for candidates in ([[0.1, 0.1], [0.2, 0.2]], [[0.1, 0.1]]):
        with pytest.raises(ValueError, match="2 rows"):
            problem.evaluate_batch(candidates)
    assert problem.evaluate_batch([[0.3, 0.3], [0.4, 0.4]]) == [Evaluation((1.0,)), Evaluation((2.0,))]
    assert problem.evaluate_batch([[0.5, 0.5]]) == [Evaluation((3.0,))]
