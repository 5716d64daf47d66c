"""Cuts and types under milliseconds: files of both are timed; here a pass takes as long as its file is large."""

from __future__ import annotations

import json

import gguf
import pytest

from evoprune.api import Run
from evoprune.cli import main
from evoprune.problems.language_model.budgets.milliseconds import Milliseconds
from evoprune.problems.language_model.gguf.types import latency
from evoprune.problems.language_model.gguf.types.matrices import DENSE
from evoprune.problems.language_model.models.throughput import Load
from tests.runs import lines

TYPES = {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}
BLOCKS = {"use": "sublayers", "genes": "block"}
WIDTH = {"use": "channels", "genes": "model", "step": 64, "drop": False}
GIVEN = {"phase": "decode", "batch": 1, "length": 16, "seconds": 0.0}
ASKED = Milliseconds(speedup=2.0, **GIVEN)


@pytest.fixture
def bytes_for_times(monkeypatch):
    """A pass takes a millisecond for each 1,000 bytes of its file."""
    monkeypatch.setattr(latency, "latencies", lambda paths, *_: [path.stat().st_size / 1000 for path in paths])


def types_in(path):
    return {tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


@pytest.fixture
def transform(problem_on):
    return problem_on("gpt2", [BLOCKS, WIDTH, TYPES]).session.transform


def test_a_type_that_one_small_matrix_alone_may_have_is_not_timed(problem_on, bytes_for_times, monkeypatch):
    made, calls, timed = problem_on("gpt2", TYPES).session.transform, [], latency.latencies
    for matrix in made.form.type_genes.matrices[:1] + made.form.type_genes.matrices[2:]:
        del matrix.sizes["Q4_0"]
    monkeypatch.setattr(latency, "latencies", lambda *given: calls.append(given) or timed(*given))
    times = ASKED.measure(made)
    assert len(calls) == 2 * latency._PROCESSES  # one round, as so little time is given
    ASKED.settle(made, times)
    assert made.genes[1].levels == (DENSE, "Q8_0")


def test_a_type_that_is_slow_does_not_hide_what_others_save(problem_on, monkeypatch):
    made = problem_on("gpt2", TYPES).session.transform

    def timed(paths, *_):
        return [30.0 if "Q4_0" in types_in(path) else 20.0 if "Q8_0" in types_in(path) else 25.0 for path in paths]

    monkeypatch.setattr(latency, "latencies", timed)
    times = ASKED.measure(made)
    assert sum(own["Q8_0"] for own in times["genes"].values()) == pytest.approx(-5)
    ASKED.settle(made, times)
    assert {gene.levels for gene in made.genes} == {(DENSE, "Q8_0")}


def test_no_file_is_timed_that_lost_more_than_half_of_its_blocks(transform):
    timed = transform.costs.timer(Load("decode", length=16))
    classes = timed.gene_classes()
    assert classes[:2] == [[0, 1, 2, 3], [4]]
    assert [timed.changed_together(genes) for genes in classes] == [[2, 3], *classes[1:]]


@pytest.fixture
def run(tmp_path, byte_models, bytes_for_times):
    """Runs a search under milliseconds; returns the exit code and the run's folder."""

    def call(name, speedup, *options, transforms=(BLOCKS, WIDTH, TYPES)):
        problem = byte_models("gpt2") | {
            "use": "language_model",
            "objective": "kl",
            "transforms": transforms,
            "budget": {"use": "milliseconds", "speedup": speedup, **GIVEN},
            "held_out_windows": 0,
        }
        spec = {"problem": problem, "population": 4, "generations": 2, "operators": {"repair": "shift"}}
        (tmp_path / "experiment.yaml").write_text(json.dumps(spec))
        command = ["run", str(tmp_path / "experiment.yaml"), "--runs-dir", str(tmp_path), "--name", name]
        return main([*command, *options]), tmp_path / name

    return call


@pytest.mark.slow
def test_a_type_that_is_slower_than_one_with_less_error_is_no_level_of_a_worker_nor_of_an_export(run, monkeypatch):
    def timed(paths, *_):
        return [path.stat().st_size / 1000 + (1000 if "Q5_0" in types_in(path) else 0) for path in paths]

    monkeypatch.setattr(latency, "latencies", timed)
    types = TYPES | {"types": ["Q5_0", "Q4_0", "Q8_0"]}
    code, folder = run("run", 1.5, "--map", "processes", "-n", "1", transforms=[types])
    assert code == 0
    assert json.loads((folder / "result.json").read_text())["cost"]["milliseconds"]["predicted"] > 0
    found = Run.open(folder)
    assert {gene.levels for gene in found.problem.genes} == {(DENSE, "Q8_0", "Q4_0")}
    evaluated = found.problem.evaluate(found.best.genome).values[0]
    assert evaluated == pytest.approx(found.best.fitness[0], rel=1e-6)
    exported = found.export(folder.parent / "best.gguf", untimed=True)
    assert types_in(folder.parent / "best.gguf") & {"Q8_0", "Q4_0", "Q5_0"} <= {"Q8_0", "Q4_0"}
    assert exported.summary


def test_a_run_is_as_fast_as_it_was_asked_to_be_and_goes_on_with_its_times(run, monkeypatch):
    code, folder = run("run", 2.0)
    assert code == 0
    found, whole = json.loads((folder / "result.json").read_text()), lines(folder)
    times = found["cost"]["milliseconds"]
    assert times["predicted"] <= times["dense"] / 2
    assert times["measured"] == found["cost"]["bytes"]["evolved"] / 1000
    assert found["protocol"]["milliseconds"] == "a token (decode, batch 1, 16 tokens before) in llama.cpp"
    for name in ("result.json", "status.json"):
        (folder / name).unlink()
    history = (folder / "history.jsonl").read_text().splitlines(keepends=True)
    (folder / "history.jsonl").write_text("".join(history[: len(history) // 2]))
    monkeypatch.setattr(latency, "latencies", lambda *_: [2.0, 1.0])  # no longer those of measured.json
    assert main(["resume", str(folder)]) == 0
    assert lines(folder) == whole
    again = json.loads((folder / "result.json").read_text())
    assert again["best"] == found["best"]
    assert again["cost"]["milliseconds"]["predicted"] == times["predicted"]
