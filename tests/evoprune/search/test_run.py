import json
import math
import random
from statistics import quantiles

import pytest

from evoprune.search.search import quantile


@pytest.mark.usefixtures("search_figures")
def test_the_folder_holds_all_that_its_readme_says(run, sphere):
    answer = run(sphere)
    assert answer.code == 0
    found = {path.name for path in answer.folder.iterdir()}
    assert found >= {"config.yaml", "environment.json", "history.jsonl", "status.json", "result.json"}
    assert found >= {"convergence.png", "convergence.svg"}
    assert not [name for name in found if name.endswith(".tmp")]
    assert str(answer.folder) in answer.out
    assert answer.json("status.json")["state"] == "done"
    assert answer.json("environment.json")["packages"]["deap"]


def test_runs_get_names_of_their_own(evoprune, sphere, tmp_path):
    for _ in range(2):
        assert evoprune("run", sphere, "--runs-dir", tmp_path / "runs").code == 0
    names = [path.name for path in (tmp_path / "runs").iterdir()]
    assert len(names) == 2
    assert all(name.startswith("sphere-") for name in names)


FAILING = """
import math
import random
from evoprune import Evaluation, Genes, Problem, Settings

class FailSettings(Settings):
    share: float = 1.0
    how: str = "raise"

class Failing(Problem):
    Settings = FailSettings

    genes = Genes.real(["x", "y"], 0.0, 1.0)

    def evaluate(self, genome):
        if genome[0] >= self.settings.share:
            return Evaluation((genome[1],), work=100.0)
        if self.settings.how == "raise":
            raise RuntimeError("out of paper")
        if self.settings.how == "exit":
            raise SystemExit(7)
        return Evaluation((math.nan,))
"""


@pytest.fixture
def failing(plugin, write):
    plugin("failing_problem", FAILING)
    return write(
        "{plugins: [failing_problem], problem: {use: 'failing_problem:Failing'}, population: 12, generations: 3}"
    )


TWO = """
from evoprune import Evaluation, Gene, Genes, Problem

class Two(Problem):
    signs = (-1.0, 1.0)
    genes = Genes([Gene.integer("x", 0, 5), Gene.integer("y", 0, 5)])

    def evaluate(self, genome, fidelity=1.0):
        x, y = genome
        return Evaluation((x * x + y, min(x, y) + x / 9))
"""


@pytest.mark.usefixtures("search_figures")
def test_of_several_objectives_the_front_is_kept_and_the_best_by_the_first_is_the_result(run, plugin, write):
    plugin("two_problem", TWO)
    answer = run(
        write("{plugins: [two_problem], problem: {use: 'two_problem:Two'}, population: 8, generations: 3}"),
        "operators.algorithm=nsga2",
    )
    assert answer.code == 0
    scored = {tuple(line["fitness"]) for line in answer.candidates}

    def dominated(point):
        return any(other[0] <= point[0] and other[1] >= point[1] and other != point for other in scored)

    found = answer.json("result.json")
    assert {tuple(point["fitness"]) for point in found["front"]} == {each for each in scored if not dominated(each)}
    least = min(first for first, _ in scored)
    assert found["best"]["fitness"] == [least, max(second for first, second in scored if first == least)]
    assert (answer.folder / "front.png").exists()


@pytest.mark.parametrize(("share", "allowed"), [(2, 0.5), (2, 1), (0.5, 0.1)])
def test_a_run_of_failures_stops_and_says_why(run, failing, share, allowed):
    answer = run(failing, f"problem.share={share}", f"max_failures={allowed}")
    assert answer.code == 3
    assert "Traceback" not in answer.err
    last = answer.err.splitlines()[-1]
    assert last.startswith("evoprune: ")
    assert "out of paper" in last
    status = answer.json("status.json")
    assert status["state"] == "stopped"
    assert "out of paper" in status["reason"]
    assert not (answer.folder / "result.json").exists()


@pytest.mark.parametrize(
    ("how", "reason"), [("raise", "RuntimeError: out of paper"), ("exit", "SystemExit"), ("nan", "not a finite")]
)
def test_failed_candidates_are_recorded_and_the_run_goes_on(run, failing, how, reason):
    answer = run(failing, "problem.share=0.3", f"problem.how={how}")
    assert answer.code == 0
    failed = [line for line in answer.candidates if "failure" in line]
    assert failed
    assert all(line["fitness"] == [None] and reason in line["failure"] for line in failed)
    assert all(line["genome"][0] < 0.3 for line in failed)
    result = answer.json("result.json")
    assert result["failures"] == len(failed)
    assert result["best"]["genome"][0] >= 0.3
    first = next(at for at, line in enumerate(answer.candidates) if "failure" not in line)
    works = {line["work"] for line in answer.candidates[first:] if "failure" in line}
    assert works == {1.0 if how == "nan" else 100.0}  # one that could not tell its work counts as the others


BROKEN = """
from evoprune import Reporting
from evoprune.problems.benchmark import Benchmark

class Broken(Benchmark, Reporting):
    def report(self, outcome, folder):
        raise ZeroDivisionError("our own fault")
"""


def test_our_own_fault_keeps_its_traceback_and_the_status_tells(run, write, plugin, tmp_path):
    plugin("broken_problem", BROKEN)
    with pytest.raises(ZeroDivisionError):
        run(write("{plugins: [broken_problem], problem: 'broken_problem:Broken', population: 4, generations: 1}"))
    status = json.loads((tmp_path / "runs" / "run" / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("failed", "our own fault")


def test_a_budget_that_nothing_is_spent_of_any_more_ends(run, sphere):
    answer = run(sphere, "budget=1000", "generations=1000000", "mate_probability=0", "mutate_probability=0")
    assert answer.code == 0
    assert answer.json("result.json")["evaluations"] < 1000
    assert "of a budget of 1,000 evaluations were spent" in answer.err


def test_a_budget_alone_decides_how_long_it_takes(run, write):
    file = write("{problem: {use: benchmark, dimensions: 3}, population: 4}")
    answer = run(file, "budget=300", name="alone")
    assert answer.generations[-1]["generation"] > 20
    assert answer.json("result.json")["evaluations"] >= 300
    both = run(file, "budget=300", "generations=2", name="both")
    assert both.generations[-1]["generation"] == 2
    assert "of a budget of 300 evaluations were spent; generations=2 ended it" in both.err


@pytest.mark.parametrize("count", [1, 2, 5, 20, 21])
def test_quartiles_are_the_usual_ones_and_infinite_values_spoil_no_finite_one(count):
    values = sorted(random.Random(count).uniform(0, 9) for _ in range(count))
    usual = quantiles(values, method="inclusive") if count > 1 else values * 3
    assert [quantile(values, share) for share in (0.25, 0.5, 0.75)] == pytest.approx(usual)
    above = math.floor(0.25 * (count - 1)) + 1
    if count % 4 == 1:  # the quartile is one of the values
        assert quantile([*values[:above], *[math.inf] * (count - above)], 0.25) == values[above - 1]
