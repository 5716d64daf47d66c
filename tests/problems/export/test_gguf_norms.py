"""Norms and biases are trained beside quantised matrices, which stay as they are in the file, byte for byte."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from gguf import GGUFReader

from evoprune.api import Run
from evoprune.cli import main
from problems.gguf.find import find_base
from problems.gguf.write import contents
from tests.runs import lines, result

TYPES = {"use": "types", "types": ["Q8_0", "Q5_0", "Q4_0"], "importance": False}
CUTS = {"use": "sublayers", "genes": "block"}
TRAINED = {"tokens": 1024, "held_out": 4, "evaluations": 2, "patience": 2, "cross_entropy": 0, "rate": 0.003}
NORMS = TRAINED | {"train": "norms"}


@pytest.fixture
def run(byte_models, tmp_path, capsys):
    """Runs a tiny search with recovery and exports the result; returns the run's folder, and the file."""

    def make(transforms, at_most, recover):
        problem = byte_models("gpt2") | {"use": "compression", "transforms": transforms, "recover": recover}
        problem |= {"budget": {"use": "bytes", "at_most": at_most}, "held_out_windows": 0}
        spec = {"problem": problem, "population": 4, "generations": 1, "operators": {"repair": "shift"}}
        (tmp_path / "experiment.yaml").write_text(json.dumps(spec))
        told = ["--runs-dir", str(tmp_path), "--name", "run"]
        assert main(["run", str(tmp_path / "experiment.yaml"), *told]) == 0, capsys.readouterr().err
        out = tmp_path / "run.gguf"
        assert main(["export", str(tmp_path / "run"), str(out), "--untimed"]) == 0, capsys.readouterr().err
        return tmp_path / "run", out

    return make


def tensors(path):
    """The type and the bytes of each tensor of a file, by name."""
    return {each.name: (each.tensor_type.name, each.data.tobytes()) for each in GGUFReader(path).tensors}


def check_quantised_are_equal(path, other):
    one, two = tensors(path), tensors(other)
    assert path.stat().st_size == other.stat().st_size
    assert {name: kind for name, (kind, _) in one.items()} == {name: kind for name, (kind, _) in two.items()}
    found = {kind for name, (kind, data) in one.items() if data != two[name][1]}
    assert found - {"F16"} == {"F32"}  # and what is left in 16 bits


def check_recovered(path):
    """The facts of the recovery hold for the file in llama.cpp; returns its row."""
    facts = json.loads(path.with_name(f"{path.stem}.evoprune.json").read_text())
    row = facts["recovered"]["evolved"]
    assert row["divergence_after"] < row["divergence_before"]
    held_out = [point["held_out_divergence"] for point in row["curve"]]  # without cross-entropy it decides
    assert row["tokens"] == row["curve"][held_out.index(min(held_out))]["tokens"]
    assert "recovery.png" not in path.with_name(f"{path.stem}.README.md").read_text()
    assert facts["check"]["run_perplexity"] == pytest.approx(row["perplexity_after"])
    assert facts["check"]["divergence"] == pytest.approx(facts["check"]["run_divergence"], rel=5e-2)
    return row


def test_a_run_trains_norms_of_its_quantised_result(run, tmp_path):
    folder, small = run(TYPES, 180_000, NORMS | {"select": {"finalists": 2, "tokens": 256}})
    found, row = result(folder), check_recovered(small)
    assert row["perplexity_before"] == pytest.approx(found["perplexity"]["report"]["evolved"], rel=1e-6)
    assert small.stat().st_size == found["cost"]["bytes"]["evolved"]
    judged = {line["finalist"]: line for line in lines(folder) if "finalist" in line}
    winner = judged[min(judged, key=lambda number: judged[number]["fitness"])]
    assert winner["measures"] == {"held_out_before": row["curve"][0]["held_out_divergence"]}
    session = Run.open(folder).problem.session
    base = find_base(session.resident)
    session.transform.apply(found["best"]["genome"])
    contents(session.resident.model, base, session.transform.encoded()).write(tmp_path / "untrained.gguf")
    check_quantised_are_equal(small, tmp_path / "untrained.gguf")


@pytest.mark.slow
def test_what_was_cut_recovered_and_quantised_is_trained_further(run, tmp_path, capsys):
    folder, first = run([CUTS, TYPES], 140_000, TRAINED)
    parameters = result(folder)["cost"]["parameters"]
    assert parameters["evolved"] < parameters["dense"]
    before, further = check_recovered(first), tmp_path / "further.gguf"
    last = Run.open(folder).compare().rows[-1]
    assert (last["model"], last["perplexity"]) == ("evolved, recovered", pytest.approx(before["perplexity_after"]))
    told = [word for key, value in NORMS.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    assert main(["recover", str(folder), "--out", str(further), *told]) == 0, capsys.readouterr().err
    assert check_recovered(further)["perplexity_before"] == pytest.approx(before["perplexity_after"], rel=1e-6)
    check_quantised_are_equal(further, first)
