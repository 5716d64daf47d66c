"""Trackers' own readers find what the history holds."""

import json
import struct

import pytest

from evoprune import InputError
from evoprune.report.trackers import read_record

BLOCK = 2**15


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


def read_wandb(folder):
    found = list(_wandb_records(next(folder.glob("wandb/offline-run-*/run-*.wandb"))))
    (start,) = [record.run for record in found if record.WhichOneof("record_type") == "run"]
    assert (start.project, start.display_name) == ("evoprune", folder.name)
    assert "operators.mate.use" in {update.key for update in start.config.update}
    rows = [{"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            for record in found if record.WhichOneof("record_type") == "history"]  # fmt: skip
    return {row["_step"]: row["fitness/best"] for row in rows}


def _wandb_records(file):
    """Blocks of 32 KiB, in which each record, or part of one, follows its length and kind."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = file.read_bytes(), 7, b""
    while at < len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in {1, 4}:  # whole, or the last part
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


@pytest.mark.parametrize(
    ("tracker", "times", "read"),
    [("tensorboard", 2, read_tensorboard), ("mlflow", 2, read_mlflow), ("wandb", 1, read_wandb)],
)
def test_the_history_is_there_once(tracker, times, read, run, sphere, evoprune, monkeypatch):
    pytest.importorskip({"mlflow": "alembic"}.get(tracker, tracker))
    answer = run(sphere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{answer.folder.parent / 'mlflow.db'}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for _ in range(times):
        told = evoprune("report", answer.folder, f"--{tracker}")
        assert told.code == 0, told.err
    assert read(answer.folder) == pytest.approx({line["generation"]: line["best"] for line in answer.generations})


def test_a_run_without_a_whole_generation_is_refused(tmp_path):
    (tmp_path / "history.jsonl").touch()
    with pytest.raises(InputError, match="no generation"):
        read_record(tmp_path)


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
