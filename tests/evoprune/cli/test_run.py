"""The commands run and validate, and what a run says as it begins and as it ends."""

import shlex
from pathlib import Path

import pytest

from evoprune.experiment import registry

EXPERIMENTS = sorted(path.name for path in (registry.HOME / "problems").glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_we_ship_is_valid(evoprune, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("smollm2-135m-instruct-q8_0.gguf").touch()  # which users download, as its experiments say
    path = registry.HOME / "problems" / name
    answer = evoprune("validate", path)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{path}: valid (data are not read")
    assert answer.out.count("\n") == 1


def test_a_problem_without_a_measurement_says_so(evoprune):
    answer = evoprune("validate", "problems/rastrigin.yaml", "--measure")
    assert (answer.code, answer.out) == (2, "")
    assert "--measure: the problem benchmark has nothing to measure beforehand" in answer.err


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("model", "/nothing/here", "no such folder"),
        ("model", "./nothing", "no such folder"),
        ("model", "nothing.gguf", "no such file"),
        ("model", "docs", "holds no config.json"),
        ("search_text.source", "nothing.txt", "no such file"),
        ("report_text.source", "nothing.jsonl", "no such file"),
        ("search_text.source", "setup.cfg", "expected a file that ends in .txt, .jsonl, .parquet"),
        ("calibration_text", "{source: nothing.parquet}", "no such file"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_files_and_folders_that_are_not_there_are_told_by_key(evoprune, tmp_path, command, key, value, why):
    places = ["--runs-dir", tmp_path / "runs"] if command == "run" else []
    answer = evoprune(command, "problems/gpt2_mini.yaml", "--set", f"problem.{key}={value}", *places)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert f"problem.{key.split('.')[0]}: " in answer.err
    assert why in answer.err
    assert not (tmp_path / "runs").exists()


TOLD = """
from evoprune import Exporting, Reporting
from problems.benchmark import Benchmark

class Told(Benchmark, Reporting, Exporting):
    def report(self, outcome, folder): return {}
    @classmethod
    def summary(cls, result): return [f"found by seed {result.seed}"]

    def export(self, genome, result, folder, options): ...
"""


def test_it_ends_with_what_was_found_and_what_to_do_with_it(run, sphere, evoprune, no_figures):
    answer = run(sphere)
    first, *_, page = answer.out.splitlines()
    best = answer.json("result.json")["best"]["fitness"][0]
    assert first.startswith(f"best fitness {best:.6g} after ")
    assert evoprune(*shlex.split(page.removeprefix("a page: python -m evoprune "))).code == 0
    assert "to export it: " not in answer.out


def test_a_problem_adds_what_it_has_to_tell_and_to_export(run, plugin, write, no_figures):
    plugin("told_problem", TOLD)
    file = write("{plugins: [told_problem], problem: 'told_problem:Told', population: 4, generations: 1, seed: 5}")
    answer = run(file)
    assert "found by seed 5" in answer.out.splitlines()
    assert answer.out.splitlines()[-1] == f"to export it: python -m evoprune export {answer.folder} OUT"
