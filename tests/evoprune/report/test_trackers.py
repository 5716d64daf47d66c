"""Trackers are handed what the history holds."""

import json
from types import SimpleNamespace

import pytest

from evoprune.report.trackers import read_record, write_wandb


def read_tensorboard(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {event.step: event.value for event in events.Scalars("fitness/best")}


def read_mlflow(folder):
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient()
    (logged,) = client.search_runs([client.get_experiment_by_name("evoprune").experiment_id])
    assert (logged.info.run_name, logged.info.status) == (folder.name, "FINISHED")
    assert logged.data.params["operators.mate.use"] == "blend"
    assert logged.data.metrics["result/evaluations"] == json.loads((folder / "result.json").read_text())["evaluations"]
    return {metric.step: metric.value for metric in client.get_metric_history(logged.info.run_id, "fitness/best")}


@pytest.mark.parametrize(("tracker", "read"), [("tensorboard", read_tensorboard), ("mlflow", read_mlflow)])
def test_the_history_is_there_once(tracker, read, run, sphere, evoprune, monkeypatch):
    pytest.importorskip({"mlflow": "alembic"}.get(tracker, tracker))
    answer = run(sphere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{answer.folder.parent / 'mlflow.db'}")
    for _ in range(2):
        told = evoprune("report", answer.folder, f"--{tracker}")
        assert told.code == 0, told.err
    assert read(answer.folder) == pytest.approx({line["generation"]: line["best"] for line in answer.generations})


def test_weights_and_biases_is_handed_the_history_the_experiment_and_the_result(run, sphere, monkeypatch):
    wandb = pytest.importorskip("wandb")
    rows, begun, summary = {}, {}, {}

    def log(values, step):
        rows[step] = values["fitness/best"]

    logged = SimpleNamespace(log=log, summary=summary, offline=False, url="there", finish=lambda: None)
    monkeypatch.setattr(wandb, "init", lambda **given: begun.update(given) or logged)
    monkeypatch.setattr(wandb, "teardown", lambda: None)
    answer = run(sphere)
    assert write_wandb(read_record(answer.folder)) == "there"
    assert rows == {line["generation"]: line["best"] for line in answer.generations}
    assert begun["config"]["operators.mate.use"] == "blend"
    assert summary["evaluations"] == answer.json("result.json")["evaluations"]


@pytest.mark.parametrize(("tracker", "fragment"), [("mlflow", "nowhere"), ("wandb", "WANDB_MODE=offline")])
def test_a_refusal_is_one_line(tracker, fragment, run, sphere, evoprune, monkeypatch, tmp_path):
    pytest.importorskip(tracker)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://x")
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_DIR", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    answer = evoprune("report", run(sphere).folder, f"--{tracker}")
    assert answer.code == 2
    assert fragment in answer.err.splitlines()[-1]
