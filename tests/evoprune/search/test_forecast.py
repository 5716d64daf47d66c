"""Forecasts of the time of a run, by its algorithm and a measured speed."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from evoprune.backends.execution import Execution
from evoprune.console.errors import Stopped
from evoprune.experiment.resolve import resolve_at
from evoprune.interfaces.problem import Evaluation
from evoprune.records.status import StatusFile
from evoprune.search import search
from evoprune.search.forecast import Forecast
from evoprune.search.toolbox import Prepared

TIMED = [Evaluation((1.0,), work=1.0, seconds=0.5), Evaluation((1.0,), work=1.0, seconds=1.5)]


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("budget=20",),
        ("operators.survive={use: elitist, fraction: 0.25}",),
        ("operators.algorithm=random_search",),
        ("problem={use: knapsack}", "operators.repair=shift"),
    ],
)
def test_the_evaluations_are_those_of_the_run(run, sphere, settings):
    done = run(sphere, *settings)
    assert done.code == 0, done.err
    prepared = Prepared.of(resolve_at(sphere, settings), Path(), Execution(workers=1))
    assert Forecast.of(prepared, TIMED).search == done.json("result.json")["evaluations"]


def test_the_speed_is_that_of_all_workers_and_failures_tell_none(sphere):
    prepared = Prepared.of(resolve_at(sphere, ()), Path(), Execution(workers=3))
    broken = replace(TIMED[0], seconds=100.0, failure="broken")
    assert Forecast.of(prepared, [*TIMED, broken]).speed == 3 * 1.0
    with pytest.raises(Stopped, match="broken"):
        Forecast.of(prepared, [broken])


def test_the_budget_that_is_advised_takes_an_hour():
    long = Forecast("steps", speed=2.0, search=1e6, references=100.0, report=1100.0)
    budget = float(re.search(r"budget=(\d+)", long.advice)[1])
    assert (budget + long.references + long.report) / long.speed == 3600
    assert not replace(long, search=6000.0).advice
    assert "budget" not in replace(long, report=1e6).advice


def test_a_long_run_says_its_time_before_it_begins(run, evoprune, sphere, monkeypatch):
    monkeypatch.setattr(search, "_QUICK", 0.0)
    monkeypatch.setattr(search, "_LONG", 0.0)
    told = run(sphere).err.splitlines()
    (at,) = (at for at, line in enumerate(told) if line.endswith(" min"))
    (first,) = (at for at, line in enumerate(told) if line.startswith("generation 0"))
    assert at < first
    more = evoprune("resume", run(sphere, name="other").folder, "--set", "generations=6")
    assert " min" not in more.err
    monkeypatch.setattr(StatusFile, "seconds_left", lambda self, searching=False: 900.0)
    assert " min" not in run(sphere, name="limited").err  # whose time is known


HALF_BROKEN = """
from evoprune.problems.benchmark import Benchmark

class HalfBroken(Benchmark):
    def evaluate(self, genome, fidelity=1.0):
        if not any(genome):
            raise RuntimeError("the known solution fails")
        return super().evaluate(genome)
"""


def test_a_known_solution_that_fails_ends_no_run_for_the_lack_of_a_forecast(run, plugin, write, monkeypatch):
    monkeypatch.setattr(search, "_QUICK", 0.0)
    plugin("half_broken", HALF_BROKEN)
    use = "{use: 'half_broken:HalfBroken', function: sphere, dimensions: 2}"
    answer = run(write(f"{{plugins: [half_broken], problem: {use}, population: 4, generations: 1}}"))
    assert answer.code == 0
    assert [line["reference"] for line in answer.history if "reference" in line and "failure" in line]


def test_a_search_ends_where_its_time_has_no_room_for_half_a_generation(run, sphere, monkeypatch):
    monkeypatch.setattr(StatusFile, "seconds_left", lambda self, searching=False: 1e-9)
    assert [line["generation"] for line in run(sphere).generations] == [0]


def test_validate_measures_and_writes_nothing(evoprune, sphere, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    answer = evoprune("validate", sphere, "--measure")
    assert answer.code == 0
    assert "evaluations a second" in answer.out
    assert answer.out.count(" min") == 3
    assert sorted(tmp_path.rglob("*")) == before
