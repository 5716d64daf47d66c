import sys

import pytest

from evoprune.api import Run

TYPED = """
from evoprune import Reporting, Result
from evoprune.problems.benchmark import Benchmark


class Weighed(Result):
    weight: float


class Scale(Benchmark, Reporting):
    Result = Weighed
    def report(self, outcome, folder): return {"weight": WEIGHT, "note": [1, None], "seed": 99}
"""


@pytest.fixture
def typed(run, write, monkeypatch):
    """Runs an experiment whose problem declares a class of results, with this as its ``weight``."""

    def call(weight):
        monkeypatch.delitem(sys.modules, "scale", raising=False)
        write(TYPED.replace("WEIGHT", weight), "scale.py")
        problem = "problem: {use: 'scale:Scale', function: sphere, dimensions: 3}\n"
        return run(write(problem + "plugins: [scale]\npopulation: 4\ngenerations: 1\nseed: 1\n"))

    return call


def test_a_problem_reads_back_its_own_class(typed):
    answer = typed("2")
    assert answer.code == 0
    found = Run.open(answer.folder).result
    assert (found.weight, found.seed, found.folder) == (2.0, 1, answer.folder)
    assert answer.json("result.json")["note"] == [1, None]


def test_a_report_of_another_form_is_an_error_that_names_the_key(typed):
    answer = typed("'heavy'")
    assert answer.code == 2
    assert "Scale.report: weight" in answer.err
