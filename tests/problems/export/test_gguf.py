"""A run's best candidate becomes a file that llama.cpp runs, or one line says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.cli import main
from problems.export import gguf as export
from problems.gguf import check, runtime
from problems.gguf.write import contents
from tests.problems.gguf.models import base_of, random_llama, write_model

BLOCKS, SUBLAYERS = {"use": "sublayers", "genes": "block"}, {"use": "sublayers"}
COMPENSATED = [
    {"use": "heads", "score": "magnitude", "compensate": True},
    {"use": "channels", "score": "magnitude", "compensate": True},
]
RECOVERED = {"tokens": 512, "held_out": 1, "evaluations": 2, "patience": 2, "batch": 1}


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
    assert check.Llama(str(out), 1).width == 260
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
