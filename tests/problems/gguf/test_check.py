"""llama.cpp runs what is written, and gives the predictions that the model gives in PyTorch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from problems.evaluation.objectives import Divergence
from problems.gguf import check
from problems.gguf.own import own_base
from problems.gguf.runtime import _in_fresh_process, checked
from problems.gguf.write import contents
from problems.models.resident import Resident
from problems.texts.text_splits import Texts
from tests.problems.gguf.models import base_of, byte_tokenizer, random_gpt2, random_llama, write_model
from tests.problems.small import plain_perplexity

HEADS, CHANNELS = {"use": "heads", "score": "magnitude"}, {"use": "channels", "score": "magnitude"}
BOTH = [HEADS, CHANNELS]

CASES = {
    "gpt2": ("gpt2", "sublayers", [0.0] * 8),
    "llama": ("llama", "sublayers", [0.0] * 8),
    "whole blocks of a gpt2": ("gpt2", {"use": "sublayers", "genes": "block"}, [0.0, 1.0, 0.0, 1.0]),
    "whole blocks": ("llama", {"use": "sublayers", "genes": "block"}, [1.0, 0.0, 0.0, 0.0]),
    "no attention here, no MLP there": ("llama", "sublayers", [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
    "a first block without attention": ("llama", "sublayers", [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
    "no MLP at either end": ("llama", "sublayers", [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]),
    "no attention at all": ("llama", "sublayers", [1.0, 0.0] * 4),
    "equal heads": ("llama", HEADS, [1.0] * 4),
    "equal channels": ("llama", CHANNELS, [1.0] * 4),
    "equal channels of a gpt2": ("gpt2", CHANNELS, [1.0] * 4),
    "whole blocks of another architecture": ("qwen2", {"use": "sublayers", "genes": "block"}, [0.0, 1.0, 0.0, 0.0]),
    "equal channels of another architecture": ("qwen2", CHANNELS, [1.0] * 4),
    "heads and channels": ("llama", BOTH, [0.0, 1.0, 2.0, 0.0, 1.0, 0.0, 2.0, 3.0]),
}


@pytest.fixture
def case(request, problem_on):
    kind, transforms, genome = CASES[request.param]
    session = problem_on(kind, transforms).session
    session.transform.apply(session.transform.dense)
    return session, base_of(session.resident.model), genome


def logits_in_llama(path, tokens):
    model = check.Llama(str(path), 1)
    model.begin(tokens.shape[1])
    found = []
    for row in tokens.numpy().astype(np.int32):
        model.cut(0)
        found.append(model.read(row, 0, every=True).copy())
    return torch.from_numpy(np.stack(found))


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_logits_are_those_of_the_model(case, tmp_path):
    session, base, genome = case
    session.transform.finalise(genome)
    made = contents(session.resident.model, base, {}, half="F32")
    made.write(tmp_path / "model.gguf")
    assert made.bytes == (tmp_path / "model.gguf").stat().st_size
    tokens = session.texts.report.tokens
    with torch.inference_mode():
        expected = session.resident.model(tokens, use_cache=False).logits
    found = logits_in_llama(tmp_path / "model.gguf", tokens)
    assert (found - expected).norm() < 2e-3 * expected.norm()  # keys and values are kept in 16 bits there


@pytest.fixture
def written(problem_on, tmp_path):
    """A session, what its report text is for the dense model, and a file of what is left of it."""
    session = problem_on("llama", {"use": "sublayers", "genes": "block"}).session
    report = session.texts.report
    dense = Divergence(report.predictions, 16)
    session.fitness.measure.total(report.tokens, dense.learn)
    base = base_of(session.resident.model)
    session.transform.apply([0.0, 1.0, 0.0, 0.0])
    contents(session.resident.model, base, {}).write(tmp_path / "small.gguf")
    return session, dense, tmp_path / "small.gguf"


def test_perplexity_and_divergence_are_those_in_pytorch(written):
    session, dense, path = written
    report = session.texts.report
    found = checked(path, report, dense)
    assert found["perplexity"] == pytest.approx(plain_perplexity(session.resident.model, report.tokens), rel=2e-3)
    assert found["divergence"] == pytest.approx(session.fitness.measure.value(report.tokens, dense), rel=1e-2)
    assert found["first_other_token"] is None
    assert found["peak_bytes"] > path.stat().st_size


def test_the_first_token_that_is_another_is_told(written):
    session, dense, path = written
    report = session.texts.report
    other = report.tokens.clone()
    other[1, 5] += 1
    assert checked(path, replace(report, tokens=other), dense)["first_other_token"] == report.tokens.shape[1] + 5


def test_a_file_whose_tokenizer_begins_texts_is_scored_with_that_token(problem_on, tmp_path):
    session, tokenizer = problem_on("gpt2", "sublayers").session, byte_tokenizer(begin=True)
    model = session.resident.model
    report = Texts(session.settings, Resident(model, tokenizer, "tiny")).report
    assert report.tokens[:, 0].tolist() == [tokenizer.bos_token_id] * 3
    dense = Divergence(report.predictions, 16)
    session.fitness.measure.total(report.tokens, dense.learn)
    for begins, other in ((True, None), (False, 0)):
        base = own_base(model, byte_tokenizer(begin=begins), "tiny")
        contents(model, base, {}).write(tmp_path / "model.gguf")
        found = checked(tmp_path / "model.gguf", report, dense)
        assert found["first_other_token"] == other
        assert found["perplexity"] == pytest.approx(plain_perplexity(model, report.tokens), rel=2e-3)


def test_two_files_are_timed_in_turn(tmp_path):
    paths = [write_model(random_llama(), tmp_path / "one.gguf"), write_model(random_gpt2(), tmp_path / "other.gguf")]
    found = _in_fresh_process(paths, 0.0)
    assert all(speed > 0 for name in ("prefill", "decode") for speed in found[name])
    assert found["length"] == 48 - 16  # the positions of the GPT-2, but for the tokens that are generated
    assert found["peak_bytes"] < 2**28


def test_a_file_that_llama_does_not_load_is_told_with_its_reason(written):
    session, dense, path = written
    path.write_bytes(path.read_bytes()[:-1000])
    found = checked(path, session.texts.report, dense)
    assert found["failure"].startswith("cannot be run: ")
    assert "not within the file bounds" in found["failure"]
    assert found["perplexity"] == math.inf
