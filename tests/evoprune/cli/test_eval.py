"""``eval`` of something that is no run: which problem measures it."""

from importlib.metadata import EntryPoint

import pytest

from evoprune.experiment import registry

PLUGIN = """
from pydantic import Field
from evoprune import Evaluation, Genes, Problem, Settings
from evoprune.interfaces.export import Measuring, Table

class Options(Settings):
    deep_look: bool = Field(False, description="look into 100% of it")
    text: str = "x"
    set: int = Field(3, description="a name that the command has")

class Bare(Problem):
    genes = Genes.real(["x"], 0.0, 1.0)
    def evaluate(self, genome): return Evaluation((genome[0],))

class First(Bare, Measuring):
    EvalOptions = Options
    ending = ".first"
    def compare(self, genome, result, options): 
        return Table([{"name": "best", "x": genome[0]}], {"by": "First"}, words={"x": "x, metres"})
    @classmethod
    def measures(cls, source): return source.endswith(cls.ending)
    @classmethod
    def measure(cls, source, options): return Table([{"name": source}], {"by": cls.__name__, "told": str(options)})

class Second(First):
    ending = ".second"
"""


@pytest.fixture
def problems(plugin, monkeypatch):
    plugin("measuring_problems", PLUGIN)
    found = {
        name: EntryPoint(name, value, registry.PROBLEMS)
        for name, value in {
            "bare": "measuring_problems:Bare",
            "first": "measuring_problems:First",
            "second": "measuring_problems:Second",
            "broken": "no_such_module:Problem",
        }.items()
    }
    monkeypatch.setattr(registry, "names", lambda group: found if group == registry.PROBLEMS else {})


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (["x.first"], 0, "told: deep_look=False text='x' set=3"),
        (["x.first", "--deep-look", "--text", "mine.txt"], 0, "told: deep_look=True text='mine.txt' set=3"),
        (["x.second"], 0, "by: Second"),
        (["x.other"], 2, "x.other: is no run's folder, and no installed problem can measure it"),
        (["x.first", "--set", "seed=1"], 2, "--set: changes a run's experiment"),
    ],
)
def test_a_source_that_is_no_run_is_measured_by_the_problem_that_can(evoprune, problems, arguments, code, fragment):
    answer = evoprune("eval", *arguments)
    assert answer.code == code
    assert fragment in answer.out + answer.err


def test_a_run_is_compared_by_its_own_problem(evoprune, run, write, plugin):
    plugin("measuring_problems", PLUGIN)
    file = write("{plugins: [measuring_problems], problem: 'measuring_problems:First', population: 4, generations: 1}")
    answer = evoprune("eval", run(file).folder)
    assert answer.code == 0
    assert "by: First" in answer.out
    assert answer.out.split("\n")[0] == "name  x, metres"


def test_a_problem_without_the_part_says_so(evoprune, run, sphere, tmp_path):
    folder = run(sphere).folder
    for arguments in (["eval", folder], ["export", folder, tmp_path / "out"]):
        answer = evoprune(*arguments)
        assert answer.code == 2
        assert "benchmark has nothing to" in answer.err.lower()
    assert not (tmp_path / "out").exists()
