"""llama.cpp runs the files, gives the predictions that the model gives in PyTorch, and lists its presets, quantise."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from gguf import GGUFReader

from evoprune import InputError
from evoprune.problems.language_model.evaluation.measure import Divergence
from evoprune.problems.language_model.gguf import quantiser
from evoprune.problems.language_model.gguf.base import make_base
from evoprune.problems.language_model.gguf.names import find_specs
from evoprune.problems.language_model.gguf.runtime import _in_fresh_process, measure_file, memory, presets, quantise
from evoprune.problems.language_model.gguf.write import Contents, contents
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.text_splits import Texts
from tests.problems.language_model.gguf.models import (
    base_of,
    byte_tokenizer,
    logits_of,
    random_gpt2,
    random_llama,
    write_model,
)
from tests.problems.language_model.small import plain_perplexity

HEADS, CHANNELS = {"use": "heads"}, {"use": "channels"}
BLOCKS = {"use": "sublayers", "genes": "block"}

CASES = {
    "gpt2": ("gpt2", "sublayers", [0.0] * 8),
    "equal channels of a gpt2": ("gpt2", CHANNELS, [1.0] * 4),
    "whole blocks": ("llama", BLOCKS, [1.0, 0.0, 0.0, 0.0]),
    "no MLP at either end": ("llama", "sublayers", [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]),
    "no attention at all": ("llama", "sublayers", [1.0, 0.0] * 4),
    "heads and channels": ("llama", [HEADS, CHANNELS], [0.0, 1.0, 2.0, 0.0, 1.0, 0.0, 2.0, 3.0]),
    "equal channels of another architecture": ("qwen2", CHANNELS, [1.0] * 4),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_model(case, problem_on, tmp_path):
    kind, transforms, genome = CASES[case]
    session = problem_on(kind, transforms).session
    base = base_of(session.resident.model)
    session.transform.finalise(genome)
    contents(session.resident.model, base, {}, half="F32").write(tmp_path / "model.gguf")
    expected, found = logits_of(session.resident.model, tmp_path / "model.gguf", session.texts.report.tokens)
    assert (found - expected).norm() < 2e-3 * expected.norm()  # keys and values are kept in 16 bits there


def found_in(path, report, dense, run=None, timeout=math.inf):
    """Measurements of the file in llama.cpp on the report text."""
    text, run = load_text(report.settings, "report_text"), run and run.top_predictions
    return measure_file(
        path, text, report.tokens, report.bos_token is not None, dense.top_predictions, run=run, timeout=timeout
    )


@pytest.mark.usefixtures("fresh_processes")
def test_perplexity_divergence_and_tokens_are_those_in_pytorch(problem_on, tmp_path):
    session = problem_on("llama", BLOCKS).session
    report, path = session.texts.report, tmp_path / "small.gguf"
    dense, run = (Divergence(report.predictions, top) for top in (16, session.resident.forward.vocabulary))
    for learnt in (dense, run):  # as if the file were to hold the dense model
        session.fitness.measure.total(report.tokens, learnt.store)
    base = base_of(session.resident.model)
    session.transform.apply([0.0, 1.0, 0.0, 0.0])
    contents(session.resident.model, base, {}).write(path)
    found = found_in(path, report, dense, run)
    assert found["perplexity"] == pytest.approx(plain_perplexity(session.resident.model, report.tokens), rel=2e-3)
    assert found["divergence"] == pytest.approx(session.fitness.measure.value(report.tokens, dense), rel=1e-2)
    session.transform.apply(session.transform.dense)
    both = logits_of(session.resident.model, path, report.tokens)
    ours, theirs = (logits[:, :-1].flatten(0, 1).double().log_softmax(-1) for logits in both)
    of_tokens = (ours - theirs).gather(1, report.tokens[:, 1:].reshape(-1, 1)).flatten()
    divergences = (ours.exp() * (ours - theirs)).sum(1)
    assert found["runtime_divergence"] == pytest.approx(float(divergences.mean()), rel=1e-3)
    table, losses = found["predictions"], -theirs.gather(1, report.tokens[:, 1:].reshape(-1, 1)).flatten()
    expected = -ours.gather(1, report.tokens[:, 1:].reshape(-1, 1)).flatten()
    assert table["same_top"] == pytest.approx(float((ours.argmax(1) == theirs.argmax(1)).double().mean()))
    assert table["behind"] == pytest.approx(float((losses - expected).mean()), abs=1e-6)
    changes = (-losses).exp() - (-expected).exp()
    assert table["probability_change"] == pytest.approx(float(changes.square().mean().sqrt()), rel=1e-3)
    for name, values in {"loss_error": of_tokens, "runtime_error": divergences}.items():
        assert found[name] == pytest.approx(float(values.std()) / len(values) ** 0.5, rel=1e-3)
    assert found["first_other_token"] is None
    assert found["peak_bytes"] > path.stat().st_size
    assert "failure" in found_in(path, report, dense, timeout=1e-3)
    other = report.tokens.clone()
    other[1, 5] += 1
    found = found_in(path, replace(report, tokens=other), dense)
    assert found["first_other_token"] == report.tokens.shape[1] + 5
    path.write_bytes(path.read_bytes()[:-1000])
    found = found_in(path, report, dense)
    assert "not within the file bounds" in found["failure"]
    assert found["perplexity"] == math.inf


@pytest.mark.parametrize(("begins", "other"), [(True, None), (False, 0)])
def test_a_file_whose_tokenizer_begins_texts_is_scored_with_that_token(begins, other, problem_on, tmp_path):
    session, tokenizer = problem_on("gpt2", "sublayers").session, byte_tokenizer(begin=True)
    model = session.resident.model
    report = Texts(session.settings, Resident(model, tokenizer, "tiny")).report
    dense = Divergence(report.predictions, 16)
    session.fitness.measure.total(report.tokens, dense.store)
    contents(model, make_base(model, byte_tokenizer(begin=begins), "tiny"), {}).write(tmp_path / "model.gguf")
    found = found_in(tmp_path / "model.gguf", report, dense)
    assert found["first_other_token"] == other
    assert found["perplexity"] == pytest.approx(plain_perplexity(model, report.tokens), rel=2e-3)


@pytest.mark.usefixtures("fresh_processes")
def test_two_files_are_timed_in_turn(tmp_path):
    paths = [write_model(random_llama(), tmp_path / "one.gguf"), write_model(random_gpt2(), tmp_path / "other.gguf")]
    found = _in_fresh_process(paths, 0.0)
    assert all(speed > 0 for name in ("prefill", "decode") for speed in found[name])
    assert found["length"] == 48 - 16  # the positions of the GPT-2, but for the tokens that are generated
    assert found["peak_bytes"] < 2**28


QUANTISE = """
import sys
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib
params = get_ffi().new("llama_model_quantize_params *")
params[0] = get_lib().llama_model_quantize_default_params()
for number, out in zip(sys.argv[2::2], sys.argv[3::2]):
    params.ftype = int(number)
    assert not get_lib().llama_model_quantize(sys.argv[1].encode(), out.encode(), params)
"""


def changed(path, other):
    """The tensors of ``path`` that have other bytes in ``other``."""
    both = zip(GGUFReader(path).tensors, GGUFReader(other).tensors, strict=True)
    return [own for own, another in both if not np.array_equal(own.data, another.data)]


def test_presets_are_those_of_llama_cpps_quantiser(tmp_path):
    model = random_llama(tied=False)
    base, names = base_of(model), ["Q8_0", "Q4_K_M", "Q3_K_L", "IQ4_NL"]
    jobs = [each for name in names for each in (str(quantiser.PRESETS[name]), tmp_path / name)]
    dense = write_model(model, tmp_path / "dense.gguf")
    subprocess.run([sys.executable, "-c", QUANTISE, dense, *jobs], check=True, capture_output=True)
    tensors = {spec.name: spec.parameter for spec in find_specs(model, base.architecture)}
    found = presets(model, base, importance=False)
    for name in names:
        kinds = {tensors[each.name]: each.tensor_type.name for each in GGUFReader(tmp_path / name).tensors}
        assert found[name] == {parameter: kind for parameter, kind in kinds.items() if kind != "F32"}
        quantise(dense, tmp_path / "own", name, {})
        assert (tmp_path / "own").read_bytes() == (tmp_path / name).read_bytes()
    weighed = {tensor: torch.arange(64.0) for tensor in tensors if tensor.endswith("attn_q.weight")}
    quantise(dense, tmp_path / "own", names[-1], weighed)
    assert {each.name for each in changed(tmp_path / "own", tmp_path / names[-1])} == {*weighed}


@pytest.mark.usefixtures("fresh_processes")
def test_a_model_that_llama_cannot_read_is_refused_with_its_reason(monkeypatch):
    model = random_llama()
    monkeypatch.setattr(Contents, "write_outline", lambda _, path: path.write_bytes(b"nothing"))
    with pytest.raises(InputError, match=r"presets are: .+"):
        presets(model, base_of(model), importance=False)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(InputError, match="exit code 1"):
        presets(model, base_of(model), importance=False)


def test_the_memory_of_a_context_is_known_before_it_is_taken(tmp_path):
    path = write_model(random_llama(groups=2), tmp_path / "tiny.gguf")
    found = memory(path, 1024, "f16")
    of_keys_and_values = 2 * 3 * 2 * 16 * 2  # both, of three blocks, in two groups of 16 numbers of two bytes
    assert found["cache"] == pytest.approx(1024 * of_keys_and_values, abs=2**20 / 100)
    assert found["weights"] == sum(tensor.n_bytes for tensor in GGUFReader(path).tensors)
    assert found["buffers"] > 0
    with pytest.raises(InputError, match="q8_0"):  # rows of 16 do not hold a block of 32
        memory(path, 1024, "q8_0")
