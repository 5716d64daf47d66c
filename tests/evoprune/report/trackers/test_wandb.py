"""What W&B keeps in its offline mode, read back with its own reader."""

import json
import struct

import pytest

pytest.importorskip("wandb")

BLOCK = 2**15


def records(folder):
    """Those of the one log: blocks of 32 KiB, in which each record, or part of one, follows its length and kind."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
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


def test_history_experiment_and_result_are_logged(run, sphere, evoprune, no_figures, monkeypatch):
    answer = run(sphere)
    monkeypatch.setenv("WANDB_MODE", "offline")
    told = evoprune("report", answer.folder, "--wandb")
    assert told.code == 0, told.err
    assert "wandb sync " in told.out
    found = list(records(answer.folder))
    rows = [{"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            for record in found if record.WhichOneof("record_type") == "history"]  # fmt: skip
    read = {row["_step"]: row["fitness/best"] for row in rows}
    assert read == pytest.approx({line["generation"]: line["best"] for line in answer.generations})
    (start,) = [record.run for record in found if record.WhichOneof("record_type") == "run"]
    assert (start.project, start.display_name) == ("evoprune", answer.folder.name)
    assert "operators.mate.use" in {update.key for update in start.config.update}


def test_without_a_login_one_line_says_what_to_do(run, sphere, evoprune, no_figures, monkeypatch, tmp_path):
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_DIR", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    answer = evoprune("report", run(sphere).folder, "--wandb")
    assert answer.code == 2
    assert "WANDB_MODE=offline" in answer.err.splitlines()[-1]
