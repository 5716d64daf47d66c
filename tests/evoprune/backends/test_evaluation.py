import math

import numpy
import pytest

from evoprune import Evaluation, Genes, Problem
from evoprune.backends.evaluation import ProblemRef, Worker, evaluate

VALUES = {}


class Given(Problem):
    """Answers what the test put into VALUES."""

    signs = (-1.0, 1.0)

    genes = Genes.real(["x"], 0.0, 1.0)

    def evaluate(self, genome):
        return VALUES["answer"]()


@pytest.fixture
def score(monkeypatch):
    monkeypatch.setattr("evoprune.backends.evaluation.build_problem", lambda ref, device: Given(Given.Settings()))

    def call(answer):
        monkeypatch.setitem(VALUES, "answer", answer)
        return evaluate(ProblemRef("given", "{}"), [[0.5]])[0]

    return call


def test_numbers_of_any_kind_become_floats(score):
    values = score(lambda: Evaluation((numpy.float32(0.5), 2))).values
    assert values == (0.5, 2.0)
    assert [type(value) for value in values] == [float, float]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: Evaluation((math.nan, 1.0)), "not a finite number"),
        (lambda: Evaluation((1.0, math.inf)), "not a finite number"),
        (lambda: Evaluation((-math.inf, 1.0)), "not a finite number"),
        (lambda: Evaluation(("x", 1.0)), "ValueError"),
        (lambda: Evaluation((1.0, 2.0), work=-1.0), "work is -1.0: expected at least 0"),
        (lambda: Evaluation((1.0, 2.0), failure="out of memory"), "out of memory"),
        (lambda: Evaluation((1.0, 2.0), measures={"odd": math.nan}), "JSON"),
        (lambda: 3.0, "AttributeError"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_fault_of_the_candidate_is_the_worst_fitness_with_its_reason(score, answer, reason):
    evaluation = score(answer)
    assert evaluation.values == (math.inf, -math.inf)
    assert reason in evaluation.failure


def test_an_interrupt_is_no_fault_of_the_candidate(score):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(interrupted)


def claimed(devices):
    """The device that a worker claims, as the first of its process."""
    worker = Worker()
    worker.claim(devices, None)
    return worker.device


def test_each_process_claims_a_device_that_the_fewest_have(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert [claimed(["cpu", "cpu"]), claimed([])] == ["cpu", None]
    assert list(tmp_path.iterdir()) == []  # they need no lock
    taken = [claimed(["cuda:0", "cuda:1"]) for _ in range(5)]
    assert taken == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
