"""The finals: the best of a search is judged beside known solutions, and a resumed run judges none twice."""

import json
import re
import shutil

import pytest

from evoprune.api import Run
from evoprune.records.status import read_status
from tests.runs import result, without_times

JUDGED = """
from pydantic import Field
from evoprune import Evaluation, Finals
from evoprune.problems.benchmark import Benchmark, BenchmarkSettings

class Own(BenchmarkSettings):
    log: str
    known: list[float] = Field([4.0, 3.0], description="known solutions by the value of all of their genes")
    fails_from: float = Field(100.0, description="the first gene from which on judging fails")
    allowed: float = Field(100.0, description="the largest first gene that violates nothing")

class Judged(Benchmark, Finals):
    '''The finals ask for a large first gene.'''
    Settings = Own

    @property
    def contenders(self):
        return {f"all {value:g}": [value] * self.settings.dimensions for value in self.settings.known}

    def references(self):
        return super().references() | self.contenders

    def evaluate(self, genome, fidelity=1.0):
        values = super().evaluate(genome).values
        return Evaluation(values, violation=max(0.0, genome[0] - self.settings.allowed))

    def judge(self, genome):
        with open(self.settings.log, "a") as log:
            log.write(repr(list(genome)) + "\\n")
        if genome[0] >= self.settings.fails_from:
            raise RuntimeError("too large")
        return -genome[0]
"""


@pytest.fixture
def judged(plugin, write, run, tmp_path):
    """Runs a search with finals; returns the answer."""
    plugin("judged", JUDGED)
    log = tmp_path / "log"
    problem = f'{{use: "judged:Judged", function: sphere, dimensions: 3, log: {json.dumps(str(log))}}}'
    file = write(f"{{plugins: [judged], problem: {problem}, population: 8, generations: 4, seed: 2}}")

    def call(*settings, name="run"):
        log.write_text("")
        return run(file, *settings, name=name)

    call.file = file
    call.genomes = lambda: [json.loads(line) for line in log.read_text().splitlines()]
    return call


def finalists(answer):
    return [line for line in answer.history if "finalist" in line]


@pytest.mark.parametrize(("known", "wins"), [(4.0, True), (-4.0, False)])
def test_the_best_and_the_known_are_judged_and_the_best_of_them_wins(judged, known, wins):
    answer = judged(f"problem.known=[{known}]")
    ours, theirs = finalists(answer)
    assert answer.history[-2:] == [ours, theirs]
    assert (theirs["finalist"], theirs["genome"]) == (f"all {known:g}", [known] * 3)
    best = min(answer.candidates, key=lambda line: line["fitness"][0])
    assert ours["genome"] == best["genome"]
    found = answer.json("result.json")
    assert found["best"]["genome"] == (theirs if wins else ours)["genome"]
    assert (found["best"]["candidate"] is None) is wins
    assert found["chosen"] == (f"all {known:g}" if wins else "evolved")
    assert found["finalists"] == {
        f"candidate {ours['finalist']}": {"fitness": best["fitness"][0], "judged": -ours["genome"][0]},
        f"all {known:g}": {"fitness": pytest.approx(3 * known**2), "judged": -known},
    }
    assert found["work"] == read_status(answer.folder).work == len({tuple(one["genome"]) for one in answer.candidates})


def test_a_run_killed_at_any_byte_of_its_finals_ends_the_same_and_judges_none_twice(judged, evoprune, tmp_path):
    whole = judged()
    history = (whole.folder / "history.jsonl").read_bytes()
    lines = history.splitlines(keepends=True)
    start = sum(map(len, lines[:-3]))
    for size in [start, start + 1, *range(start + 40, len(history), 211), len(history) - 1, len(history)]:
        folder = tmp_path / f"cut-{size}"
        shutil.copytree(whole.folder, folder)
        (folder / "result.json").unlink()
        (folder / "history.jsonl").write_bytes(history[:size])
        before = len(judged.genomes())
        again = evoprune("resume", folder, folder=folder)
        assert again.code == 0, again.err
        assert without_times(again.history) == without_times(whole.history)
        assert result(folder) == result(whole.folder)
        recorded = sum(line["genome"] in _sound(history[:size]) for line in finalists(whole))
        assert len(judged.genomes()) == before + 3 - recorded
    assert evoprune("report", whole.folder).code == 0
    assert Run.open(whole.folder).best.genome == [4.0] * 3


def _sound(history):
    return [json.loads(line)["genome"] for line in history.splitlines() if b'"finalist"' in line and line[-1:] == b"}"]


def test_a_finished_run_stays_as_it_is_and_a_lengthened_one_holds_its_own_finals(judged, evoprune):
    longer = judged("generations=9", name="longer")
    folder = judged().folder
    before = (folder / "history.jsonl").read_bytes()
    assert "done already" in evoprune("resume", folder).out
    assert (folder / "history.jsonl").read_bytes() == before
    again = evoprune("resume", folder, "--set", "generations=9", folder=folder)
    assert again.code == 0, again.err
    assert without_times(again.history) == without_times(longer.history)
    assert result(folder) == result(longer.folder)


def test_a_known_solution_that_cannot_be_scored_does_not_win(judged):
    answer = judged("problem.known=[1e200]")
    assert not finalists(answer)
    assert answer.json("result.json")["chosen"] == "evolved"


def test_what_violates_a_constraint_less_wins(judged):
    assert judged("problem.allowed=3.5").json("result.json")["chosen"] == "all 3"


def test_what_cannot_be_judged_does_not_win(judged):
    one = judged("problem.fails_from=4.0", name="one")
    (failure,) = (line["failure"] for line in finalists(one) if line["finalist"] == "all 4")
    assert re.fullmatch(r"RuntimeError: too large \(judged\.py:\d+\)", failure)
    assert one.json("result.json")["chosen"] == "all 3"
    none = judged("problem.fails_from=-100", name="none")
    assert none.json("result.json")["best"]["genome"] == finalists(none)[0]["genome"]
    assert [line["fitness"] for line in finalists(none)] == [[None]] * 3
    assert none.json("result.json")["chosen"] == "evolved"
