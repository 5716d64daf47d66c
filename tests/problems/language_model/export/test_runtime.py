"""Speed and memory of the dense and of the written model, each in its own process."""

import pytest

from problems.language_model.export.runtime import lines, runtimes
from problems.language_model.export.write import _save


@pytest.mark.slow
def test_both_models_are_measured_in_processes_of_their_own(language_model, tmp_path, capfd):
    problem = language_model(transforms={"use": "sublayers", "genes": "block"})
    session = problem.session
    session.transform.apply([0.0, 1.0, 0.0])
    _save(session, [0.0, 1.0, 0.0], session.resident.model.dtype, tmp_path, {})
    found = runtimes(session, "float32", tmp_path)
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("measuring")]
    assert [line.removesuffix(", in a process of its own") for line in told] == [
        "measuring speed", "measuring memory of the dense model", "measuring memory of the smaller model",
    ]  # fmt: skip
    for key in ("prefill", "decode", "peak_bytes", "load_seconds", "file_bytes"):
        assert min(found[key]["dense"], found[key]["evolved"]) > 0
    assert found["length"] == 63  # the model has 64 positions
    assert found["file_bytes"]["evolved"] == (tmp_path / "model.safetensors").stat().st_size
    assert found["file_bytes"]["dense"] > found["file_bytes"]["evolved"]
    assert runtimes(session, "float32", tmp_path / "nothing") is None


def test_the_lines_compare_with_the_dense_model():
    pair = lambda dense, evolved: {"dense": dense, "evolved": evolved}  # noqa: E731
    found = {"prefill": pair(1000.0, 1500.0), "decode": pair(40.0, 60.0), "peak_bytes": pair(500e6, 400e6)}
    found |= {"file_bytes": pair(0, 300e6), "load_seconds": pair(1.234, 0.617)}
    assert lines(found) == [  # files that are not on this machine have no bytes
        "loading: dense 1.23 s, evolved 0.617 (0.50x)",
        "prefill: dense 1,000 tokens/s, evolved 1,500 (1.50x)",
        "decode: dense 40 tokens/s, evolved 60 (1.50x)",
        "peak memory: dense 500 MB, evolved 400 (0.80x)",
    ]
