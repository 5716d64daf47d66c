"""Scores on a part of the data: what they cost, what the memo knows of them, and that they win nothing."""

import json

import pytest

from evoprune.ablation.runs import improvements
from tests.runs import without_times

PARTLY = """
import random
from evoprune import Evaluation, Generation, Genes, Problem, Evaluate, Settings

class Log(Settings):
    log: str
    fidelities: bool = True

class Partly(Problem):
    Settings = Log

    def __init__(self, settings):
        super().__init__(settings)
        type(self).has_fidelities = settings.fidelities

    genes = Genes.real(["x"], 0.0, 1.0)
    def evaluate(self, genome, fidelity=1.0):
        with open(self.settings.log, "a") as log:
            log.write(f"{fidelity}\\n")
        return Evaluation((genome[0] - (1 - fidelity),), work=fidelity)

def screen(toolbox, *, population):
    people = [toolbox.individual() for _ in range(population)]
    while True:
        yield Evaluate(people, 0.25)
        yield Evaluate(people[:1], 1.0)
        yield Generation(people[:1])
"""


@pytest.fixture
def screened(run, plugin, write, tmp_path):
    plugin("partly", PARTLY)
    file = write(f"""\
        problem: {{use: "partly:Partly", log: {json.dumps(str(tmp_path / "log"))}}}
        operators: {{algorithm: "partly:screen"}}
        population: 6
        generations: 2
        plugins: [partly]
        """)
    return lambda *settings, name="run": (run(file, *settings, name=name), tmp_path / "log")


def test_each_share_is_scored_once_and_charged_as_what_it_is(screened):
    answer, log = screened()
    assert log.read_text().split() == ["0.25"] * 6 + ["1.0"]
    result = answer.json("result.json")
    assert result["evaluations"] == 7
    assert result["evaluations"] == len([line for line in answer.candidates if not line["memo"]])
    assert sum(line["work"] for line in answer.candidates if not line["memo"]) == 6 * 0.25 + 1
    assert [line.get("fidelity", 1.0) for line in answer.candidates[:7]] == [0.25] * 6 + [1.0]


def test_only_what_was_scored_on_all_can_be_the_result(screened):
    answer, _ = screened()
    full = [line for line in answer.candidates if "fidelity" not in line]
    best = answer.json("result.json")["best"]
    assert best["fitness"] == full[0]["fitness"]
    assert best["fitness"][0] > min(line["fitness"][0] for line in answer.candidates)
    assert {line["best"] for line in answer.generations} == {best["fitness"][0]}


def test_a_problem_without_fidelities_is_always_scored_on_all(screened):
    answer, log = screened("problem.fidelities=false")
    assert set(log.read_text().split()) == {"1.0"}
    assert len(log.read_text().split()) == 6
    assert all("fidelity" not in line for line in answer.candidates)


def test_a_resumed_run_knows_each_share(screened, evoprune):
    whole, _ = screened("generations=4", name="whole")
    part, log = screened(name="part")
    log.unlink()
    assert evoprune("resume", part.folder, "--set", "generations=4").code == 0
    assert not log.exists()
    assert without_times(part.history) == without_times(whole.history)


def test_a_probe_off_the_budget_cannot_be_the_result(run, write):
    file = write("""\
        problem: {use: benchmark, function: sphere, dimensions: 4, mean: -1}
        operators: {algorithm: equal_marginals, mutate: exchange, repair: shift}
        generations: 30
        """)
    answer = run(file)
    best = answer.json("result.json")["best"]
    probes = [line for line in answer.candidates if line.get("probe")]
    assert min(line["fitness"] for line in probes) < best["fitness"]
    assert sum(best["genome"]) / 4 == pytest.approx(-1)
    (*_, (_, last)) = improvements(answer.candidates, -1.0)
    assert last["fitness"] == best["fitness"]
