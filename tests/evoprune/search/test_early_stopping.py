"""Early stopping on data that the search never sees."""

import json

import pytest

from tests.runs import without_times

WATCHED = """
from evoprune import Evaluation, HeldOut
from evoprune.problems.benchmark.functions import Benchmark, BenchmarkSettings

class Log(BenchmarkSettings):
    log: str

class Overfitted(Benchmark, HeldOut):
    '''Held-out data on which the best fitness is 1.5: the search comes past it.'''
    Settings = Log

    def held_out_value(self, genome):
        with open(self.settings.log, "a") as log:
            log.write("x")
        return abs(self.evaluate(genome).values[0] - 1.5)

class TwoObjectives(Overfitted):
    weights = (-1.0, -1.0)
"""


@pytest.fixture
def watched(plugin, write, run, tmp_path):
    plugin("overfitted", WATCHED)
    log = tmp_path / "log"
    log.touch()

    def call(*settings, name="run", kind="Overfitted"):
        problem = f'{{use: "overfitted:{kind}", function: sphere, dimensions: 4, log: {json.dumps(str(log))}}}'
        file = write(f"{{plugins: [overfitted], problem: {problem}, population: 8, generations: 60, seed: 2}}")
        return run(file, *settings, name=name), log

    return call


def test_the_run_ends_with_what_was_best_on_held_out_data(watched):
    answer, _ = watched("patience=4")
    seen = [line["watched"] for line in answer.generations]
    at = seen.index(min(seen))
    assert len(seen) == at + 4 + 1 < 60
    best = answer.generations[at]["best"]
    assert answer.json("result.json")["best"]["fitness"] == [best]
    assert best > answer.generations[-1]["best"]


def test_only_new_bests_are_measured_and_never_again_on_resuming(watched, evoprune):
    answer, log = watched("patience=4")
    bests = [line["best"] for line in answer.generations]
    assert len(log.read_text()) == 1 + len(set(bests))  # once more to see that there is such data
    log.write_text("")
    lines = (answer.folder / "history.jsonl").read_bytes().splitlines(keepends=True)
    whole = answer.json("result.json")["best"]
    (answer.folder / "history.jsonl").write_bytes(b"".join(lines[:-1]))
    again = evoprune("resume", answer.folder, folder=answer.folder)
    assert again.code == 0, again.err
    assert without_times(again.history) == without_times(map(json.loads, lines))
    assert again.json("result.json")["best"] == whole
    assert len(log.read_text()) <= 2


def test_patience_changes_nothing_but_the_end(watched):
    with_patience, _ = watched("patience=4", name="with")
    without, _ = watched(name="without")
    assert "watched" not in without.generations[0]
    shorter = [{k: v for k, v in line.items() if k != "watched"} for line in without_times(with_patience.history)]
    assert shorter == without_times(without.history)[: len(shorter)]


def test_patience_without_held_out_data_or_without_a_single_best_is_refused(run, sphere, watched):
    for answer in (run(sphere, "patience=3"), watched("patience=3", kind="TwoObjectives", name="two")[0]):
        assert answer.code == 2
        assert "patience: " in answer.err
        assert not answer.folder.exists()
