"""The command: a run and an export for each limit, none of them twice, and a table and a picture of all files."""

import pytest

WRITTEN = """
from evoprune import Exported, InputError
from evoprune.interfaces.export import Exporting
from evoprune.problems.benchmark import Benchmark

class Written(Benchmark, Exporting):
    @classmethod
    def file_suffixes(cls): return [".txt"]

    def export(self, genome, result, place, options):
        if len(genome) == 7: raise InputError("has no form")
        place.write_text(str(genome))
        faults = ["too long"] if len(genome) == 5 else []
        return Exported({"loss": len(genome), "bytes": 9 - len(genome), "function": self.settings.function}, [], faults)

    @classmethod
    def compared(cls, facts): return {key: facts[key] for key in ("loss", "bytes")}, facts["function"]
"""

EXPERIMENT = """
plugins: [written]
problem: {use: "written:Written", function: sphere, dimensions: 3}
population: 6
generations: 1
seed: 1
"""


@pytest.fixture
def front(evoprune, plugin, write, tmp_path):
    """Makes a front over two sizes, or those given, in the folder ``front``."""
    plugin("written", WRITTEN)
    file = write(EXPERIMENT, "small.yaml")

    def call(*options, dimensions="3,4"):
        vary = ("--vary", f"problem.dimensions={dimensions}")
        return evoprune("front", file, "--out", tmp_path / "front", *vary, *options, folder=tmp_path / "front")

    return call


def made(folder):
    """When each file of runs and exports was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/**/*") if path.is_file()}


def test_each_limit_is_run_and_exported_and_the_table_names_every_file_the_best_first(front):
    answer = front()
    assert answer.code == 0, answer.err
    assert {path.name for path in answer.folder.glob("small/*.txt")} == {"3.txt", "4.txt"}
    assert len(list(answer.folder.glob("small/runs/*/result.json"))) == 2
    rows = {"small/3": {"loss": 3, "bytes": 6}, "small/4": {"loss": 4, "bytes": 5}}
    assert list(answer.json("front.json").items()) == list(rows.items())
    assert answer.out.index("small/3") < answer.out.index("small/4")
    assert {path.name for path in answer.folder.glob("front.*")} == {"front.json", "front.png", "front.svg"}


def test_given_again_it_makes_only_what_is_missing(front):
    folder = front().folder
    before = made(folder)
    assert front(dimensions="3,4,6").code == 0
    after = made(folder)
    assert before == {path: after[path] for path in before}
    assert (folder / "small" / "6.txt").exists()
    for path in folder.glob("small/4.*"):  # the run is there, its export is not
        path.unlink()
    assert front(dimensions="3,4,6").code == 0
    assert (folder / "small" / "4.txt").exists()
    of_runs = (path for path in after if "runs" in path.parts and path.name != "exported.json")
    runs = {path: after[path] for path in of_runs}
    assert runs == {path: made(folder)[path] for path in runs}


def test_an_export_that_failed_its_check_or_is_refused_is_told_and_the_others_are_made(front):
    answer = front(dimensions="5,7,6")
    assert answer.code == 0, answer.err
    assert list(answer.json("front.json")) == ["small/6"]
    assert "small/5: too long" in answer.out
    assert "small/7.txt" in answer.err
    assert {path.name for path in answer.folder.glob("small/*.txt")} == {"5.txt", "5.UNFIT.txt", "6.txt"}


def test_damaged_facts_are_refused_in_one_line(front):
    (front().folder / "small" / "4.evoprune.json").write_text("{")
    answer = front()
    assert answer.code == 2
    assert "small/4.evoprune.json" in answer.err.splitlines()[-1]


def test_another_experiment_in_the_same_family_is_refused_before_anything_runs(front):
    before = made(front().folder)
    answer = front("--set", "population=8", dimensions="4,7")
    assert answer.code == 2
    assert "--family" in answer.err
    assert made(answer.folder) == before


def test_exports_measured_on_something_else_are_not_compared(front):
    front()
    answer = front("--set", "problem.function=rastrigin", "--family", "other")
    assert answer.code == 2
    assert all(fact in answer.err for fact in ("small/3", "sphere", "other/3", "rastrigin"))
