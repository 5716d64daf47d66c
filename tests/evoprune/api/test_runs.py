import json
import os

import pytest

import evoprune
from evoprune import InputError, api


@pytest.fixture
def finished(tmp_path):
    spec = {"problem": {"use": "benchmark", "function": "sphere", "dimensions": 3}, "population": 6, "generations": 2}
    return api.run(spec, ["seed=3"], runs_dir=tmp_path, name="run")


def test_a_run_is_what_its_folder_says(finished):
    again = api.Run.open(finished.folder)
    assert again.best == finished.best
    assert finished.resolved.experiment.seed == 3
    best = min(line["fitness"][0] for line in finished.lines if "candidate" in line)
    assert finished.best.fitness == [best]


def test_a_run_is_opened_with_its_own_threads(finished, monkeypatch):
    path = finished.folder / "environment.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"execution": told["execution"] | {"threads": 1}}))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert api.Run.open(finished.folder).problem.genes
    assert os.environ["OMP_NUM_THREADS"] == "1"
    for threads in (None, "1", -1, 10**9):
        path.write_text(json.dumps(told | {"execution": {"threads": threads}}))
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        assert api.Run.open(finished.folder).problem.genes
        assert os.environ["OMP_NUM_THREADS"] == "7"


def test_the_history_is_two_tables_also_while_the_run_is_unfinished(finished):
    assert list(finished.history["candidate"]) == list(range(6 + 2 * 3))
    assert list(finished.generations["generation"]) == [0, 1, 2]
    (finished.folder / "result.json").unlink()
    candidates, generations = api.read_history(finished.folder)
    assert len(candidates["genome"]) == 6 + 2 * 3
    assert list(generations["evaluations"])[-1] == len({tuple(genome) for genome in candidates["genome"]})
    with pytest.raises(InputError, match="history"):
        api.read_history(finished.folder / "nothing")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"best": NaN}', "[" * 100_000, '{"best": {"genome": []}, "seed": 0}'])
def test_a_result_that_is_none_is_refused(finished, text):
    (finished.folder / "result.json").write_text(text)
    with pytest.raises(InputError, match=r"result\.json"):
        api.Run.open(finished.folder)


def test_a_mapping_that_yaml_could_not_hold_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"problem\.use"):
        api.run({"problem": {"use": tmp_path}}, runs_dir=tmp_path)


def test_the_package_has_few_names_and_all_that_it_lists():
    assert len(evoprune.__all__) <= 34
    assert all(hasattr(evoprune, name) for name in evoprune.__all__)
