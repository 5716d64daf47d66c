"""The finals: the best few of a search are judged once more, within the budget, and a resumed run judges none twice.

Known solutions may be judged beside them.
"""

import json
import shutil
from itertools import pairwise

import pytest

from evoprune.api import Run
from evoprune.records import recorded
from evoprune.records.status import look
from tests.runs import result, without_times

JUDGED = """
from pydantic import Field
from evoprune import Evaluation, Finals, HeldOut
from evoprune.problems.benchmark.functions import Benchmark, BenchmarkSettings

class Own(BenchmarkSettings):
    log: str
    finalists: int = 3
    fails_from: float = Field(100.0, description="the first gene from which on judging fails")
    allowed: float = Field(100.0, description="the largest first gene that violates nothing where it is judged")
    known: float | None = Field(None, description="all genes of a known solution that takes part")

class Judged(Benchmark, Finals, HeldOut):
    '''The finals ask for a large first gene.'''
    Settings = Own
    finalists = property(lambda self: self.settings.finalists)
    judging_cost = 10.0
    contenders = property(lambda self: {} if self.settings.known is None else {"known": self._known})
    _known = property(lambda self: [self.settings.known] * self.settings.dimensions)

    def references(self):
        return super().references() | self.contenders

    def judge(self, genome):
        with open(self.settings.log, "a") as log:
            log.write(repr(list(genome)) + "\\n")
        if genome[0] >= self.settings.fails_from:
            raise RuntimeError("too large")
        beyond = max(0.0, genome[0] - self.settings.allowed)
        return Evaluation((-genome[0],), work=10.0, measures={"gene": genome[0]}, violation=beyond)

    def held_out_value(self, genome):
        return abs(self.evaluate(genome).values[0] - 1.5)
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


def test_the_best_few_distinct_candidates_are_judged_and_the_best_of_them_wins(judged):
    answer = judged()
    by_genome = {tuple(line["genome"]): line["fitness"][0] for line in answer.candidates}
    best_few = sorted(by_genome, key=by_genome.get)[:3]
    assert [tuple(line["genome"]) for line in finalists(answer)] == best_few
    assert answer.history[-3:] == finalists(answer)
    winner = max(best_few, key=lambda genome: genome[0])
    found = answer.json("result.json")
    assert tuple(found["best"]["genome"]) == winner
    assert found["best"]["fitness"] == [by_genome[winner]]
    assert found["finals_changed_the_result"] == (winner != best_few[0])
    rows = {f"candidate {line['finalist']}": line for line in finalists(answer)}
    assert found["finalists"] == {
        name: {"fitness": by_genome[tuple(line["genome"])], "judged": -line["genome"][0]} for name, line in rows.items()
    }
    assert found["work"] == look(answer.folder).work == len(by_genome) + 30


def test_one_finalist_is_the_search_s_own_result_and_is_not_judged(judged):
    one, none = judged("problem.finalists=1", name="one"), judged("problem.finalists=0", name="none")
    assert one.json("result.json")["best"] == none.json("result.json")["best"]
    assert without_times(one.history) == without_times(none.history)
    assert "finalists" not in one.json("result.json")
    stopping = ["patience=4", "generations=60", "problem.dimensions=4"]
    watched = judged("problem.finalists=1", *stopping, name="watched")
    plain = judged("problem.finalists=0", *stopping, name="plain")
    assert watched.json("result.json")["best"] == plain.json("result.json")["best"]
    assert plain.json("result.json")["best"]["fitness"][0] > plain.generations[-1]["best"]


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


@pytest.mark.parametrize(("known", "wins"), [(4.0, True), (-4.0, False)])
def test_a_known_solution_wins_where_it_is_judged_better(judged, known, wins):
    answer = judged("problem.finalists=1", f"problem.known={known}", "budget=100", "generations=1000")
    found, genome = answer.json("result.json"), [known] * 3
    assert [line["finalist"] for line in finalists(answer)][1:] == ["known"]
    assert finalists(answer)[1]["genome"] == genome
    assert (found["best"]["genome"] == genome) is found["finals_changed_the_result"] is wins
    assert found["chosen"] == ("known" if wins else "evolved")
    assert found["finalists"]["known"] == {"fitness": pytest.approx(3 * known**2), "judged": -known}
    assert "20 of a budget of 100 evaluations are kept for the finals" in answer.err
    assert answer.generations[-2]["work"] < 100 - 20 <= answer.generations[-1]["work"]
    assert (found["best"]["candidate"] is None) is wins


def test_a_run_that_a_known_solution_wins_is_resumed_and_reported(judged, evoprune, tmp_path):
    whole = judged("problem.known=4.0")
    history = (whole.folder / "history.jsonl").read_bytes()
    for at in (-2, -1):
        folder = tmp_path / f"cut{at}"
        shutil.copytree(whole.folder, folder)
        (folder / "result.json").unlink()
        (folder / "history.jsonl").write_bytes(b"".join(history.splitlines(keepends=True)[:at]))
        assert evoprune("resume", folder).code == 0
        assert without_times(recorded.lines(folder / "history.jsonl")) == without_times(whole.history)
        assert result(folder) == result(whole.folder)
    assert evoprune("report", whole.folder).code == 0
    assert Run.open(whole.folder).best.genome == [4.0] * 3


def test_a_known_solution_that_the_search_bred_is_judged_once(judged):
    """With one gene, which has to keep its mean, all candidates are the optimum."""
    settings = ["problem.dimensions=1", "problem.known=0.0", "operators.repair=shift", "generations=1"]
    alone = judged("problem.finalists=1", *settings, name="alone")
    assert not finalists(alone)
    assert alone.json("result.json")["chosen"] == "known"
    assert alone.json("result.json")["best"]["candidate"] == 0


def test_a_known_solution_that_cannot_be_scored_does_not_win(judged):
    answer = judged("problem.finalists=2", "problem.known=1e200")
    assert [line["finalist"] for line in finalists(answer) if line["finalist"] == "known"] == []
    assert answer.json("result.json")["chosen"] == "evolved"


def test_what_violates_a_constraint_less_wins(judged):
    _, second, third = sorted((line["genome"] for line in finalists(judged())), reverse=True)
    for allowed, winner in ((second[0], second), (third[0] - 1, third)):
        one = judged(f"problem.allowed={allowed!r}", name=f"allowed {allowed}")
        assert one.json("result.json")["best"]["genome"] == winner


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(judged, evoprune, tmp_path):
    one = judged("problem.finalists=6")
    options = ["--set", "problem.finalists=6", "-n", "3", "--runs-dir", tmp_path, "--name", "several"]
    several = evoprune("run", judged.file, *options, folder=tmp_path / "several")
    assert several.code == 0, several.err
    assert without_times(several.history) == without_times(one.history)
    assert {line.get("worker") for line in finalists(several)} != {None}
    assert result(several.folder) == result(one.folder)


def test_the_budget_pays_for_the_finals(judged):
    answer = judged("budget=100", "generations=1000")
    spent = [line["work"] for line in answer.generations]
    assert spent[-2] < 100 - 30 <= spent[-1]
    step = max(later - earlier for earlier, later in pairwise(spent))
    assert answer.json("result.json")["work"] == spent[-1] + 30 < 100 + step
    refused = judged("budget=30", name="refused")
    assert refused.code == 2
    assert "judging 3 finalists costs 30 evaluations, so that 30 leave nothing for the search" in refused.err
    assert not refused.folder.exists()


def test_what_cannot_be_judged_does_not_win(judged):
    whole = judged()
    largest, second, _ = sorted((line["genome"] for line in finalists(whole)), reverse=True)
    assert whole.json("result.json")["best"]["genome"] == largest
    one = judged(f"problem.fails_from={largest[0]!r}", name="one")
    assert [line["failure"] for line in finalists(one) if line["genome"] == largest] == ["RuntimeError: too large"]
    assert one.json("result.json")["best"]["genome"] == second
    none = judged("problem.fails_from=-100", name="none")
    assert none.json("result.json")["best"]["genome"] == finalists(none)[0]["genome"]
    assert [line["fitness"] for line in finalists(none)] == [[None]] * 3
    assert none.json("result.json")["finals_changed_the_result"] is False


def test_several_objectives_are_refused(plugin, write, run):
    plugin("judged_twice", JUDGED + "\n    weights_of = classmethod(lambda cls, _: (-1.0, 1.0))\n")
    answer = run(write("{plugins: [judged_twice], problem: {use: 'judged_twice:Judged', function: sphere, log: log}}"))
    assert answer.code == 2
    assert "with 2 objectives there is no single best to choose" in answer.err
