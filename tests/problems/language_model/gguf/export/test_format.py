"""A run's best candidate becomes a file that llama.cpp runs, or one line says why not."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shlex
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from gguf import GGMLQuantizationType, GGUFReader

from evoprune.api import Run
from evoprune.cli import main
from evoprune.problems.language_model import eval
from evoprune.problems.language_model.gguf import ggml, quantiser
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.export import against, comparison
from evoprune.problems.language_model.gguf.export.comparison import same_size
from evoprune.problems.language_model.gguf.ggml import row_bytes
from evoprune.problems.language_model.gguf.runtime import presets, quantise
from evoprune.problems.language_model.gguf.write import Contents, contents
from evoprune.problems.language_model.parts import Export
from evoprune.problems.language_model.settings import EvalOptions
from tests.problems.language_model.gguf.models import base_of, random_llama, write_model
from tests.problems.language_model.small import run_in
from tests.runs import no_file_above, result

BLOCKS, SUBLAYERS = {"use": "sublayers", "genes": "block"}, {"use": "sublayers"}
COMPENSATED = ["heads", "channels"]
EXPERTS = [{"use": "experts", "genes": "model"}, {"use": "types", "types": ["Q8_0", "Q5_0"]}]
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
            problem = told | {"use": "language_model", "transforms": transforms}
            problem |= {"budget": {"use": "parameters", "removed": 0.15}} | settings
            problem["held_out_windows"] = 0  # the search's own is the result, whether uniform is better or not
            done[key] = run_in(home, problem), Path(told["model"]).with_name("base.gguf")
        return done[key]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "transforms", "settings"),
    [
        ("gpt2", BLOCKS, {}),
        ("llama", COMPENSATED, {}),
        ("llama", SUBLAYERS, {"recover": RECOVERED}),
        ("qwen3_moe", EXPERTS, {"budget": {"use": "bytes", "removed": 0.4}, "recover": RECOVERED}),
    ],
    ids=["blocks of a gpt2", "heads and channels", "sublayers, recovered", "experts and types, recovered"],
)
def test_a_run_becomes_a_checked_file(run_of, kind, transforms, settings, tmp_path):
    run, base = run_of(kind, transforms, **settings)
    out = tmp_path / "small.gguf"
    options = ["--untimed", *(["--base", str(base)] if kind == "llama" else [])]
    assert main(["export", str(run), str(out), *options]) == 0
    names = {f"small.{end}" for end in ("README.md", "evoprune.json", "evoprune.Modelfile", "experiment.yaml", "gguf")}
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


def test_a_file_is_compared_with_the_dense_model_in_the_same_form_whatever_its_base_holds(run_of, tmp_path):
    run, base = run_of("llama", BLOCKS)
    model, larger = random_llama(blocks=4), tmp_path / "larger.gguf"
    contents(model, base_of(model), {}, "F32").write(larger)
    assert main(["export", str(run), str(tmp_path / "my file.gguf"), "--base", str(larger)]) == 0
    times = json.loads((tmp_path / "my file.evoprune.json").read_text())["runtime"]
    for name in ("prefill", "decode", "peak_bytes", "load_seconds", "file_bytes"):
        assert times[name]["dense"] > 0
    assert times["file_bytes"]["dense"] == base.stat().st_size < larger.stat().st_size
    assert times["file_bytes"]["evolved"] == (tmp_path / "my file.gguf").stat().st_size
    pattern = (
        r"(?:llama-cli -m|llama-server -m|ollama create my-file -f|lms import --symbolic-link|evoprune run) ([^`\n]+)"
    )
    commands = re.findall(pattern, (tmp_path / "my file.README.md").read_text())
    names = [shlex.split(words)[0] for words in commands]
    file, modelfile, experiment = (f"my file.{end}" for end in ("gguf", "evoprune.Modelfile", "experiment.yaml"))
    assert names == [file, file, modelfile, file, experiment]
    assert all((tmp_path / name).is_file() for name in names)


def test_a_file_is_compared_with_its_source_and_with_one_of_llama_quantize_in_as_many_bytes(
    byte_models, tmp_path, capsys, monkeypatch
):
    told = byte_models("llama")
    source = Path(told["model"]).with_name("base.gguf")
    problem = told | {"use": "language_model", "model": str(source), "held_out_windows": 0}
    problem |= {
        "transforms": {"use": "types", "types": ["Q8_0", "Q4_0"]},
        "budget": {"use": "bytes", "at_most": 170_000},
    }
    run, out = run_in(tmp_path, problem), tmp_path / "small.gguf"
    capsys.readouterr()
    assert main(["export", str(run), str(out), "--context", "32", "--fits", "100000000"]) == 0
    *_, verdict, _, usage = capsys.readouterr().out.splitlines()
    facts = json.loads((tmp_path / "small.evoprune.json").read_text())
    check, of_source, preset = facts["check"], facts["source"], facts["preset"]
    assert of_source["name"] == source.name
    assert of_source["bytes"] == facts["runtime"]["file_bytes"]["dense"] == source.stat().st_size
    assert of_source["divergence"] == pytest.approx(0, abs=1e-3)
    assert check["divergence"] > of_source["divergence"]
    bits = facts["bits_per_byte"]
    assert of_source["bits_per_byte"] == pytest.approx(bits["dense"], rel=1e-2)
    assert check["bits_per_byte"] == pytest.approx(bits["evolved"], rel=1e-2)
    assert preset["bytes"] <= out.stat().st_size < of_source["bytes"]
    smaller = {"size": out.stat().st_size, "source": source.stat().st_size, "asked": 170_000}
    assert all(f"{size / 1000:.1f} kB" in verdict for size in smaller.values())
    same = preset["bytes"] > 0.99 * out.stat().st_size
    assert ("same bytes" if same else f"{preset['bytes'] / 1000:.1f} kB") in verdict
    measured = f"{facts['protocol']['report_text']['predictions']:,} tokens"
    assert measured in verdict
    behind = math.log2(math.e) * check["predictions"]["behind"]  # a token is a byte
    assert f"{abs(behind):.3g} ± " in verdict
    assert behind == pytest.approx(check["bits_per_byte"] - of_source["bits_per_byte"], abs=1e-3)
    assert f" {preset['speed']:.2f} times as fast" in verdict
    for row in (check, preset):
        table = row["predictions"]
        assert table["median"] <= table["p99"] <= table["p999"] <= table["largest"]
        assert f"{table['same_top']:.1%}" in verdict
        assert f"divergence {row['divergence']:.3g}" in verdict
    assert usage.endswith(f"{out} -c 32")
    taken = sum(facts["memory"][part] for part in ("weights", "cache", "buffers", "process"))
    assert f"{taken / 1e6:.1f} MB with a context of 32 tokens, {(1e8 - taken) / 1e6:.1f} MB less" in verdict
    card = (tmp_path / "small.README.md").read_text()
    assert verdict in card
    assert f"| {preset['bytes']:,} |" in card
    assert not [path for path in tmp_path.glob("small.*") if str(source.parent).encode() in path.read_bytes()]
    capsys.readouterr()
    report = told["report_text"]
    text = [f"--text={report['source']}", *(f"--{key}={report[key]}" for key in ("window", "windows"))]
    assert main(["eval", str(out), "--against", str(source), *text, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    for row, known in zip(rows, (of_source, check), strict=True):
        assert row["perplexity"] == pytest.approx(known["perplexity"], rel=1e-2)
        assert row["divergence"] == pytest.approx(known["divergence"], abs=0.02)  # the run's dtype is another one
        assert row["same_top"] == pytest.approx(known["predictions"]["same_top"], abs=0.1)
    found = Run.open(run)
    assert "sparsity" not in found.result.as_json()
    assert Export(found.problem).draft(found.best.genome, tmp_path / "draft.gguf", Export.ExportOptions())
    assert (tmp_path / "draft.gguf").read_bytes() == out.read_bytes()
    monkeypatch.setattr(comparison, "same_size", None)  # there is no time to lay it out
    late = found.export(tmp_path / "late.gguf", seconds=0.0)
    assert late.facts["preset"] is None
    assert late.facts["no_preset"] in late.verdict
    assert "python -m evoprune export" in late.verdict
    alone = found.export(tmp_path / "alone.gguf", against_preset="none")
    assert alone.facts["preset"] is None
    assert "llama-quantize" not in alone.verdict


def test_a_file_is_compared_on_texts_and_tasks(byte_models, tmp_path, capsys):
    """Accuracies are those in PyTorch."""
    told = byte_models("llama")
    source, out, task = Path(told["model"]).with_name("base.gguf"), tmp_path / "small.gguf", tmp_path / "task.jsonl"
    quantise(source, out, "Q4_0", {}, None)
    words = Path(told["report_text"]["source"]).read_text()
    lines = [
        {"prompt": words[at : at + 9], "choices": [words[at + 9 : at + 9 + size] for size in (2, 3)], "answer": at % 2}
        for at in range(0, 400, 13)
    ]
    task.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    def measured(*options):
        capsys.readouterr()
        assert main(["eval", *map(str, options), "--json", "--window=32"]) == 0
        return json.loads(capsys.readouterr().out)

    texts = [told[f"{role}_text"]["source"] for role in ("report", "search")]
    found = measured(out, "--against", source, "--text", texts[0], "--also", texts[1], "--tasks", task)
    assert [(row["model"], row["text"]) for row in found["rows"]] == [
        (name, text) for text in ("report.txt", "search.txt", "task.jsonl") for name in ("base.gguf", "small.gguf")
    ]
    assert [len({row["compares"] for row in found["rows"][part::2]}) for part in (0, 1)] == [1, 1]
    assert found["rows"][0]["compares"] != found["rows"][1]["compares"]
    assert all(f"{row['divergence']:.3g} nats a token" in found["protocol"]["verdict"] for row in found["rows"][1::2])
    own = {row["text"]: row["divergence"] for row in found["rows"][1:4:2]}
    assert found["protocol"]["worst_text"] == max(own, key=own.get)
    *_, before, after = found["rows"]
    for row, file in ((before, source), (after, out)):
        assert row["accuracy"] == pytest.approx(measured(file, "--text", task)["rows"][0]["accuracy"], abs=0.1)
    changed = (after["became_right"] - after["became_wrong"]) / len(lines)
    assert after["accuracy"] - before["accuracy"] == pytest.approx(changed)
    assert found["rows"][0]["accuracy"] is None
    folder = measured(out, "--against", told["model"], "--tasks", task)["rows"]
    assert folder[0]["accuracy"] == after["accuracy"]
    assert len(folder) == 1


def test_a_comparison_reads_some_tokens_of_a_long_text_unless_all_are_asked_for(byte_models, tmp_path, monkeypatch):
    told, told_time = byte_models("llama"), []
    source, out = Path(told["model"]).with_name("base.gguf"), tmp_path / "small.gguf"
    quantise(source, out, "Q4_0", {})
    monkeypatch.setattr(eval, "_COMPARED", 100)
    monkeypatch.setattr(against, "_LONG", 0.0)
    monkeypatch.setattr(against, "note", told_time.append)
    windows = {}
    for more in ({}, {"all": True}, {"windows": 5}):
        options = EvalOptions(against=str(source), text=told["report_text"]["source"], window=32, **more)
        windows[*more] = eval.measure(str(out), options).protocol["windows"]
    assert windows[()] == 3
    assert windows["windows",] == 5
    assert windows["all",] > 5
    assert "96 tokens" in told_time[0]


def test_llama_quantize_makes_a_file_of_as_many_bytes_as_fit(tmp_path):
    """The smallest matrix is the most that may be missing; below all presets, the embedding is in 4 bits."""
    model = random_llama(blocks=4)
    base, sizes = base_of(model), {}
    for name, kinds in presets(model, base, True).items():
        plain = contents(model, base, {})
        chosen = {spec.name: kinds.get(spec.parameter, plain.kinds[spec.name]) for spec in plain.layout.specs}
        sizes[name] = replace(plain, kinds=chosen).bytes
    source, out = write_model(model, tmp_path / "dense.gguf"), tmp_path / "out.gguf"
    importance = {spec.name: torch.ones(spec.shape[-1]) for spec in plain.layout.specs if spec.shape[1:]}
    *_, low, high = sorted({*sizes.values()})
    for limit in (min(sizes.values()) - 1, low - 1, low, (low + high) // 2):
        found = same_size(model, base, limit)
        quantise(source, out, found.preset, importance, others=found.others)
        assert out.stat().st_size <= limit
        assert out.stat().st_size >= max((size for size in sizes.values() if size <= limit), default=0)
        assert ("embedding" in found.name) == (limit < min(sizes.values()))
    assert out.stat().st_size > low
    assert same_size(model, base, 10**9) == (max(sizes, key=sizes.get), max(sizes, key=sizes.get), {})
    assert not same_size(model, base, 10**9, quick=True).preset.startswith("IQ")


def quantise_to(kinds, source, out, importance):
    """As ``llama-quantize --tensor-type-file --imatrix``."""
    params = quantiser.LIB.llama_model_quantize_default_params()
    overrides = quantiser.FFI.new("struct llama_model_tensor_override[]", len(kinds) + 1)
    held = [quantiser.FFI.new("char[]", name.encode()) for name in kinds]
    for entry, name, kind in zip(overrides, held, kinds.values(), strict=False):
        entry.pattern, entry.type = name, GGMLQuantizationType[kind].value
    params.tt_overrides = overrides
    quantiser._quantise(str(source), str(out), "Q8_0", params, importance)


def test_llama_cpp_makes_the_same_file_of_types_from_the_source(byte_models, tmp_path):
    problem = byte_models("llama") | {
        "use": "language_model",
        "transforms": {"use": "types", "types": ["Q8_0", "Q4_0"]},
        "budget": {"use": "bits_per_weight", "at_most": 7.0},
        "held_out_windows": 0,
    }
    run, out = run_in(tmp_path, problem), tmp_path / "small.gguf"
    assert main(["export", str(run), str(out), "--untimed"]) == 0
    recipe = json.loads((tmp_path / "small.evoprune.json").read_text())["recipe"]
    assert f"```\n{recipe}\n```" in (tmp_path / "small.README.md").read_text()
    words = shlex.split(recipe)
    files = {option: tmp_path / words[words.index(option) + 1] for option in ("--tensor-type-file", "--imatrix")}
    kinds = dict(line.split("=") for line in files["--tensor-type-file"].read_text().split())
    stored = {each.name: each.tensor_type.name for each in GGUFReader(out).tensors if len(each.shape) > 1}
    assert kinds == stored
    assert len({*kinds.values()}) > 1
    resident = Run.open(run).problem.session.resident
    source = write_model(resident.model, tmp_path / "source.gguf")
    sums = {each.name: each.data for each in GGUFReader(files["--imatrix"]).tensors}
    names = [name.removesuffix(".counts") for name in sums if name.endswith(".counts")]
    importance = {name: sums[f"{name}.in_sum2"] / sums[f"{name}.counts"] for name in names}
    quantise_to(kinds, source, tmp_path / "theirs.gguf", importance)
    ours, theirs = (GGUFReader(path).tensors for path in (out, tmp_path / "theirs.gguf"))
    assert {each.name: each.data.tobytes() for each in ours} == {each.name: each.data.tobytes() for each in theirs}


def test_llama_cpp_runs_a_file_with_a_type_that_its_quantiser_makes_otherwise(byte_models, tmp_path):
    problem = byte_models("llama") | {
        "use": "language_model",
        "transforms": {"use": "types", "types": ["Q8_0", "Q2_0"]},
        "budget": {"use": "bits_per_weight", "at_most": 6.0},
        "held_out_windows": 0,
    }
    out = tmp_path / "small.gguf"
    assert main(["export", str(run_in(tmp_path, problem)), str(out), "--untimed"]) == 0
    assert json.loads((tmp_path / "small.evoprune.json").read_text())["kinds"]["Q2_0"]
    assert "Q2_0 tensors other scales" in (tmp_path / "small.README.md").read_text()


DAMAGE = {
    "permuted rows": ("ffn_up.weight", lambda data: data[::-1]),
    "a scale": ("ffn_up.weight", lambda data: (2 * data.view(np.float16)).view(np.uint8)),
    "another type": ("ffn_up.weight", lambda data: ggml.quantize(data.view(np.float16).astype(np.float32), "BF16")),
    "a norm": ("ffn_norm.weight", lambda data: (1 + data.view(np.float32)).view(np.uint8)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_with_one_wrong_tensor_is_marked(run_of, tmp_path, monkeypatch, damage):
    run, base = run_of("llama", BLOCKS)
    (name, change), write = DAMAGE[damage], Contents._data
    monkeypatch.setattr(
        Contents, "_data", lambda made, spec: (change if spec.name == f"blk.1.{name}" else np.array)(write(made, spec))
    )
    assert main(["export", str(run), str(tmp_path / "small.gguf"), "--untimed", "--base", str(base)]) == 3
    assert (tmp_path / "small.UNFIT.txt").exists()
    assert not json.loads((tmp_path / "small.evoprune.json").read_text())["fit"]


@pytest.mark.parametrize(("out", "room"), [("small.gguf", 40_000), ("small", 40_000), ("small", 1_000)])
def test_a_full_disk_stops_an_export_and_leaves_nothing(run_of, out, room, tmp_path, capsys):
    run, _ = run_of("gpt2", BLOCKS)
    with no_file_above(room):
        assert main(["export", str(run), str(tmp_path / out), "--untimed"]) == 3
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path}: {os.strerror(errno.EFBIG)}" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("missing", "reason"), [(None, "llama.cpp has no form"), ("llama_cpp_py_sync", "pip install")])
def test_what_cannot_be_written_is_refused_in_a_line(run_of, missing, reason, tmp_path, capsys, monkeypatch):
    run, _ = run_of("gpt2", SUBLAYERS)
    capsys.readouterr()  # of the run
    monkeypatch.setattr(ggml, "find_spec", lambda name: None if name == missing else find_spec(name))
    assert main(["export", str(run), str(tmp_path / "small.gguf")]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert len(told.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def tensors(path):
    """The type and the bytes of each tensor of a file, by name."""
    return {each.name: (each.tensor_type.name, each.data.tobytes()) for each in GGUFReader(path).tensors}


def without_scales(kind, data):
    """The bytes of a tensor, with zeros for its scales; all types here have rows of a block of 32."""
    encoded = GgmlMatrix(kind, np.frombuffer(data, np.uint8).reshape(-1, row_bytes(kind, 32)))
    return encoded.with_scales(0 * encoded.scales).data.tobytes()


@pytest.mark.parametrize("train", ["norms", "scales"])
def test_codes_of_quantised_matrices_stay_byte_for_byte(byte_models, tmp_path, train):
    recover = {
        "tokens": 1024, "held_out": 4, "evaluations": 2, "patience": 2, "cross_entropy": 0, "rate": 0.003,
        "train": train, "keep_codes": True,
    }  # fmt: skip
    types = {"use": "types", "types": ["Q8_0", "Q5_0", "Q4_0"], "importance": False}
    problem = byte_models("gpt2") | {"use": "language_model", "transforms": types, "recover": recover}
    problem |= {"objective": "kl", "budget": {"use": "bytes", "at_most": 180_000}, "held_out_windows": 0}
    folder, small, untrained = run_in(tmp_path, problem), tmp_path / "run.gguf", tmp_path / "untrained.gguf"
    assert main(["export", str(folder), str(small), "--untimed"]) == 0
    found, facts = result(folder), json.loads((tmp_path / "run.evoprune.json").read_text())
    row, check = facts["recovered"]["evolved"], facts["check"]
    assert row["perplexity_before"] == pytest.approx(found["perplexity"]["report"]["evolved"], rel=1e-6)
    assert row["divergence_after"] < row["divergence_before"]
    held_out = [point["held_out_divergence"] for point in row["curve"]]  # without cross-entropy it decides
    assert row["tokens"] == row["curve"][held_out.index(min(held_out))]["tokens"]
    assert check["run_perplexity"] == pytest.approx(row["perplexity_after"])
    assert check["divergence"] == pytest.approx(check["run_divergence"], rel=5e-2)
    session = Run.open(folder).problem.session
    base = find_base(session.resident)
    session.transform.apply(found["best"]["genome"])
    contents(session.resident.model, base, session.transform.encoded()).write(untrained)
    assert small.stat().st_size == untrained.stat().st_size == found["cost"]["bytes"]["evolved"]
    before, after = tensors(untrained), tensors(small)
    assert {name: kind for name, (kind, _) in before.items()} == {name: kind for name, (kind, _) in after.items()}
    changed = {name: kind for name, (kind, data) in before.items() if data != after[name][1]}
    scaled = {name: kind for name, kind in changed.items() if kind not in {"F32", "F16"}}
    assert "F32" in changed.values()
    assert bool(scaled) == (train == "scales")
    assert all(name.startswith("blk.") for name in scaled)
    for name, kind in scaled.items():
        assert without_scales(kind, after[name][1]) == without_scales(kind, before[name][1])


def test_unequal_numbers_of_experts_have_no_form_in_a_file(run_of, tmp_path, capsys):
    run, _ = run_of("qwen3_moe", "experts")
    genome = Run.open(run).best.genome
    assert len(set(genome)) > 1
    assert main(["export", str(run), str(tmp_path / "small.gguf"), "--untimed"]) == 2
    assert "genes: model" in capsys.readouterr().err
