"""A run's best candidate becomes a file that llama.cpp runs, or one line says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from gguf import GGUFReader

from evoprune.api import Run
from evoprune.cli import main
from problems.export import gguf as export
from problems.gguf import llama, runtime
from problems.gguf.base import find_base
from problems.gguf.write import contents
from problems.transforms.encoding import encoded
from tests.problems.gguf.models import base_of, random_llama, write_model
from tests.runs import lines, result

BLOCKS, SUBLAYERS = {"use": "sublayers", "genes": "block"}, {"use": "sublayers"}
COMPENSATED = [
    {"use": "heads", "score": "magnitude", "compensate": True},
    {"use": "channels", "score": "magnitude", "compensate": True},
]
RECOVERED = {"tokens": 512, "held_out": 1, "evaluations": 2, "patience": 2, "batch": 1}
TYPES = {"use": "types", "types": ["Q8_0", "Q5_0", "Q4_0"], "importance": False}
TRAINED = {"tokens": 1024, "held_out": 4, "evaluations": 2, "patience": 2, "cross_entropy": 0, "rate": 0.003}
NORMS = TRAINED | {"train": "norms"}


@pytest.fixture(scope="module")
def run_of(byte_models, tmp_path_factory):
    """Runs a tiny search on the model of a kind; returns the run's folder, and the model's base file. Once each."""
    done = {}

    def run(kind, transforms, **settings):
        key = json.dumps([kind, transforms, settings])
        if key not in done:
            home = tmp_path_factory.mktemp("run")
            told = byte_models(kind)
            problem = told | {"use": "language_model", "transforms": transforms, **settings}
            problem["budget"] = {"use": "parameters", "removed": 0.15}
            problem["held_out_windows"] = 0  # the search's own is the result, whether uniform is better or not
            spec = {"problem": problem, "population": 4, "generations": 1, "operators": {"repair": "shift"}}
            (home / "experiment.yaml").write_text(json.dumps(spec))
            assert main(["run", str(home / "experiment.yaml"), "--runs-dir", str(home), "--name", "run"]) == 0
            done[key] = home / "run", Path(told["model"]).with_name("base.gguf")
        return done[key]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "transforms", "settings"),
    [
        ("gpt2", BLOCKS, {}),
        ("llama", COMPENSATED, {}),
        ("llama", SUBLAYERS, {"recover": RECOVERED}),
    ],
    ids=["blocks of a gpt2", "heads and channels", "sublayers, recovered"],
)
def test_a_run_becomes_a_checked_file(run_of, kind, transforms, settings, tmp_path, capsys):
    run, base = run_of(kind, transforms, **settings)
    out = tmp_path / "small.gguf"
    options = ["--untimed", *(["--base", str(base)] if kind == "llama" else [])]
    assert main(["export", str(run), str(out), *options]) == 0, capsys.readouterr().err
    names = {"small.README.md", "small.evoprune.json", "small.experiment.yaml", "small.gguf"}
    assert {path.name for path in tmp_path.iterdir()} == names
    facts = json.loads((tmp_path / "small.evoprune.json").read_text())
    result = json.loads((run / "result.json").read_text())
    known = result["perplexity"].get("report_reconstructed", result["perplexity"]["report"])["evolved"]
    if result.get("recovered", {}).get("evolved", {}).get("helped"):
        known = result["recovered"]["evolved"]["perplexity_after"]
    assert facts["check"]["perplexity"] == pytest.approx(known, rel=1e-2)
    assert facts["check"]["divergence"] == pytest.approx(facts["check"]["run_divergence"], rel=5e-2)
    assert facts["fit"]
    assert facts["bytes"] == out.stat().st_size
    assert llama.Llama(str(out), 1).width == 260
    assert f"{out.stat().st_size:,} bytes" in (tmp_path / "small.README.md").read_text()


def test_a_file_is_compared_with_the_dense_model_in_the_same_form_whatever_its_base_holds(run_of, tmp_path, capsys):
    run, base = run_of("llama", BLOCKS)
    model, larger = random_llama(blocks=4), tmp_path / "larger.gguf"
    contents(model, base_of(model), {}, "F32").write(larger)
    assert main(["export", str(run), str(tmp_path / "small.gguf"), "--base", str(larger)]) == 0
    times = json.loads((tmp_path / "small.evoprune.json").read_text())["runtime"]
    for name in ("prefill", "decode", "peak_bytes", "load_seconds", "file_bytes"):
        assert times[name]["dense"] > 0
    assert times["file_bytes"]["dense"] == base.stat().st_size < larger.stat().st_size
    assert times["file_bytes"]["evolved"] == (tmp_path / "small.gguf").stat().st_size
    told = capsys.readouterr().out
    assert f"the dense model's file has {times['file_bytes']['dense']:,}" in told
    assert "prefill: dense" in told
    assert told.endswith(f"written and checked: {tmp_path / 'small.gguf'}\n")


def test_a_file_that_fails_its_check_is_marked(run_of, tmp_path, capsys, monkeypatch):
    run, _ = run_of("gpt2", BLOCKS)
    monkeypatch.setattr(runtime, "checked", lambda *_: {"perplexity": 1.0, "divergence": 1.0})
    assert main(["export", str(run), str(tmp_path / "small.gguf"), "--untimed"]) == 3
    assert "must not be used" in capsys.readouterr().err
    assert "perplexity 1 in llama.cpp" in (tmp_path / "small.UNFIT.txt").read_text()
    assert not json.loads((tmp_path / "small.evoprune.json").read_text())["fit"]


def another(folder):
    return str(write_model(random_llama(groups=4, blocks=4), folder / "another.gguf"))


def truncated(folder):
    path = write_model(random_llama(blocks=4), folder / "truncated.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    return str(path)


@pytest.mark.parametrize(
    ("kind", "transforms", "base", "reason"),
    [
        ("llama", BLOCKS, None, "takes its tokenizer and metadata from another .gguf file"),
        ("llama", BLOCKS, another, "another.gguf: is the file of another model: blk.0.attn_k.weight is 64 x 64 there"),
        ("llama", BLOCKS, truncated, "truncated.gguf: is no .gguf file, or a truncated one"),
        ("gpt2", SUBLAYERS, None, "llama.cpp has no form of gpt2 for that"),
    ],
    ids=["no base", "another model", "truncated", "no form"],
)
def test_what_cannot_be_written_is_told_in_a_line(run_of, kind, transforms, base, reason, tmp_path, capsys):
    run, _ = run_of(kind, transforms)
    given = ["--base", base(tmp_path)] if base else []
    out = tmp_path / "out"
    capsys.readouterr()  # of the run
    assert main(["export", str(run), str(out / "small.gguf"), *given]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert len(told.strip().splitlines()) == 1
    assert not out.exists() or not list(out.iterdir())


def test_a_missing_package_is_named(run_of, tmp_path, capsys, monkeypatch):
    run, _ = run_of("gpt2", BLOCKS)
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "llama_cpp_py_sync" else name)
    assert main(["export", str(run), str(tmp_path / "small.gguf")]) == 2
    assert "pip install 'evoprune[gguf]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def recovered_file(byte_models, tmp_path, capsys):
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


def test_a_run_trains_norms_of_its_quantised_result(recovered_file, tmp_path):
    folder, small = recovered_file(TYPES, 180_000, NORMS | {"select": {"finalists": 2, "tokens": 256}})
    found, row = result(folder), check_recovered(small)
    assert row["perplexity_before"] == pytest.approx(found["perplexity"]["report"]["evolved"], rel=1e-6)
    assert small.stat().st_size == found["cost"]["bytes"]["evolved"]
    judged = {line["finalist"]: line for line in lines(folder) if "finalist" in line}
    winner = judged[min(judged, key=lambda number: judged[number]["fitness"])]
    assert winner["measures"] == {"held_out_before": row["curve"][0]["held_out_divergence"]}
    session = Run.open(folder).problem.session
    base = find_base(session.resident)
    session.transform.apply(found["best"]["genome"])
    contents(session.resident.model, base, encoded(session.transform)).write(tmp_path / "untrained.gguf")
    check_quantised_are_equal(small, tmp_path / "untrained.gguf")


@pytest.mark.slow
def test_what_was_cut_recovered_and_quantised_is_trained_further(recovered_file, tmp_path, capsys):
    folder, first = recovered_file([BLOCKS, TYPES], 140_000, TRAINED)
    parameters = result(folder)["cost"]["parameters"]
    assert parameters["evolved"] < parameters["dense"]
    before, further = check_recovered(first), tmp_path / "further.gguf"
    last = Run.open(folder).compare().rows[-1]
    assert (last["model"], last["perplexity"]) == ("evolved, recovered", pytest.approx(before["perplexity_after"]))
    told = [word for key, value in NORMS.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    assert main(["recover", str(folder), "--out", str(further), *told]) == 0, capsys.readouterr().err
    assert check_recovered(further)["perplexity_before"] == pytest.approx(before["perplexity_after"], rel=1e-6)
    check_quantised_are_equal(further, first)
