"""The commands run and validate, and what a run says as it begins and as it ends."""

import shlex
from pathlib import Path

import pytest

from evoprune.experiment import registry
from evoprune.files.locks import claimed

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


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("model", "/nothing/here", "no such folder"),
        ("model", "nothing.gguf", "no such file"),
        ("model", "docs", "holds no config.json"),
        ("search_text.source", "nothing.txt", "no such file"),
        ("report_text.source", "nothing.jsonl", "no such file"),
        ("search_text.source", "setup.cfg", "expected a file that ends in .txt, .jsonl, .parquet"),
        ("calibration_text", "{source: nothing.parquet}", "no such file"),
    ],
)
def test_files_and_folders_that_are_not_there_are_told_by_key(evoprune, tmp_path, key, value, why):
    for command in (["validate"], ["run", "--runs-dir", tmp_path / "runs"]):
        answer = evoprune(*command, "problems/gpt2_mini.yaml", "--set", f"problem.{key}={value}")
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert f"problem.{key.split('.')[0]}: " in answer.err
        assert why in answer.err
    assert not (tmp_path / "runs").exists()


def test_of_two_equal_commands_the_second_is_refused(evoprune, sphere, tmp_path):
    command = ("run", sphere, "--runs-dir", tmp_path / "runs", "--name", "a")
    with claimed(tmp_path / "runs" / "a"):
        answer = evoprune(*command)
        assert answer.code == 2
        assert str(tmp_path / "runs" / "a") in answer.err
        assert not (tmp_path / "runs").exists()
        assert evoprune(*command[:-1], "b").code == 0
    assert evoprune(*command).code == 0


TOLD = """
from evoprune import Reporting
from evoprune.interfaces.export import Exporting
from evoprune.problems.benchmark import Benchmark

class Told(Benchmark, Reporting, Exporting):
    def report(self, outcome, folder): return {}
    @classmethod
    def summary(cls, result): return [f"found by seed {result.seed}"]

    def export(self, genome, result, folder, options): ...
"""


def test_it_ends_with_what_was_found_and_what_to_do_with_it(run, plugin, write, evoprune):
    plugin("told_problem", TOLD)
    file = write("{plugins: [told_problem], problem: 'told_problem:Told', population: 4, generations: 1, seed: 5}")
    answer = run(file)
    found, best, _, page, export = answer.out.splitlines()
    assert found == "found by seed 5"
    assert f" {answer.json('result.json')['best']['fitness'][0]:.6g} " in best
    assert evoprune(*shlex.split(page.removeprefix("a page: python -m evoprune "))).code == 0
    assert export == f"to export it: python -m evoprune export {answer.folder} OUT"
