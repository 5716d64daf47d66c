"""The folder comes first: what ends a run while it is loading leaves a run that can be continued, or nothing."""

import json
import shutil

import pytest

from evoprune.records import run_folder
from tests.runs import result

LOADING = """
from pathlib import Path
from evoprune import Evaluation, Genes, InputError, Problem, Settings

class LoadingSettings(Settings):
    here: str

class Loading(Problem):
    '''Does in loading what a file says.'''
    Settings = LoadingSettings
    genes = Genes.real(["x", "y"], 0.0, 1.0)

    def __init__(self, settings):
        super().__init__(settings)
        asked = Path(settings.here) / "asked"
        if asked.exists():
            raise {"interrupt": KeyboardInterrupt, "input": InputError, "fail": MemoryError}[asked.read_text()]("so")

    def evaluate(self, genome):
        return Evaluation((sum(genome),))
"""


@pytest.fixture
def loading(plugin, write, tmp_path):
    """An experiment, and a way to say what happens while it is loading; None is nothing."""
    plugin("loading_problem", LOADING)
    here = json.dumps(str(tmp_path))
    file = write(
        f"{{plugins: [loading_problem], problem: {{use: 'loading_problem:Loading', here: {here}}}, population: 4, "
        "generations: 2}"
    )

    def ask(what):
        (tmp_path / "asked").unlink(missing_ok=True)
        if what:
            (tmp_path / "asked").write_text(what)

    ask.file = file
    return ask


@pytest.mark.parametrize(("what", "code", "state"), [("interrupt", 130, "interrupted"), ("fail", None, "failed")])
def test_a_run_that_ends_while_loading_is_begun_again_by_resume(run, evoprune, loading, tmp_path, what, code, state):
    loading(what)
    folder = tmp_path / "runs" / "run"
    if code is None:
        with pytest.raises(MemoryError):
            run(loading.file)
    else:
        answer = run(loading.file)
        assert answer.code == code
        assert f"to continue: python -m evoprune resume {folder}" in answer.err
        assert "history.jsonl" not in answer.err
    assert {path.name for path in folder.iterdir()} == {"lock", "config.yaml", "status.json"}
    assert f"state: {state}" in evoprune("status", folder).out
    assert evoprune("export", folder, tmp_path / "out").err.endswith(
        f"finish it with `python -m evoprune resume {folder}`\n"
    )
    loading(None)
    assert evoprune("resume", folder).code == 0
    assert result(folder) == result(run(loading.file, name="whole").folder)
    again = evoprune("resume", folder, "--set", "seed=7", folder=folder)
    assert again.code == 2  # it has scores by now


def test_a_run_that_another_process_begins_before_the_lock_is_not_begun_twice(run, evoprune, loading, monkeypatch):
    loading("interrupt")
    folder = run(loading.file).folder
    loading(None)
    whole = run(loading.file, name="whole").folder
    locked = run_folder.locked

    def late(place):
        shutil.copytree(whole, place, dirs_exist_ok=True)
        return locked(place)

    monkeypatch.setattr(run_folder, "locked", late)
    assert evoprune("resume", folder).code == 0
    assert (folder / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()


@pytest.mark.parametrize("there", [True, False])
def test_wrong_input_found_while_loading_leaves_nothing(run, loading, tmp_path, there):
    loading("input")
    if there:
        (tmp_path / "runs").mkdir()
    assert run(loading.file).code == 2
    assert (tmp_path / "runs").exists() is there
    assert not (tmp_path / "runs" / "run").exists()


@pytest.mark.parametrize(
    ("problem", "algorithm", "population"),
    [
        ("{use: function, call: 'statistics:fmean', genes: [{name: a}, {name: b}, {name: c}]}", "cma", 7),
        ("{use: knapsack, items: 5}", "additive", 20),
    ],
)
def test_auto_is_the_algorithm_of_the_loaded_problem_and_the_run_tells_it(
    run, evoprune, write, problem, algorithm, population
):
    text = f"{{plugins: [statistics], problem: {problem}, generations: 2, operators: {{algorithm: auto}}}}"
    automatic = run(write(text))
    assert automatic.code == 0
    assert f"{algorithm}, population: {population}" in automatic.err
    named = run(automatic.folder / "config.yaml", name="named")
    assert [line["genome"] for line in named.candidates] == [line["genome"] for line in automatic.candidates]
    assert named.json("environment.json")["experiment"] == automatic.json("environment.json")["experiment"]
    assert evoprune("resume", automatic.folder, "--set", "generations=3").code == 0
    refused = run(write(text.replace("auto", "{use: auto, sigma: 1}")), name="other")
    assert refused.code == 2
    assert "operators.algorithm" in refused.err
