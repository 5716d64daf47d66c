"""The loaded model follows the header of its file, as llama.cpp does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from evoprune.problems.language_model.gguf.base import as_field
from evoprune.problems.language_model.gguf.llama import Llama
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.load import load_model
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.texts.windows import bos_token
from tests.problems.language_model.gguf.models import base_of, random_llama, random_model, tensor_of

LLAMA3 = {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
SCALED = {"llama3": LLAMA3, "linear": {"factor": 4.0}}


def scaled_llama(kind):
    """Long enough heads that frequencies are scaled in each of the three ways of Llama 3."""
    config = LlamaConfig(
        vocab_size=260, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, head_dim=64,
        max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
        rope_parameters={"rope_type": kind, "rope_theta": 10000.0} | SCALED[kind],
    )  # fmt: skip
    return random_model(config)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a model with more in its header, and tensors beside; returns its settings."""
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))

    def write(model, fields, kept=None, without=()):
        base = base_of(model)
        known = {key: value for key, value in (base.fields | fields).items() if key not in without}
        kept = {name: tensor_of(array) for name, array in (kept or {}).items()}
        contents(model, replace(base, fields=known, extra_tensors=kept), {}).write(tmp_path / "model.gguf")
        return ModelSettings(model=str(tmp_path / "model.gguf"), device="cpu", dtype="float32")

    return write


def header_of(kind, model):
    """As converters write it: for Llama 3 what each frequency is divided by, else kind and factor."""
    if kind == "llama3":
        scaled, _ = ROPE_INIT_FUNCTIONS[kind](model.config, torch.device("cpu"))
        plain = 10000.0 ** -(torch.arange(32) / 32)
        return {}, {"rope_freqs.weight": (plain / scaled).numpy()}
    factor = as_field(SCALED[kind]["factor"])
    return {"llama.rope.scaling.type": as_field(kind), "llama.rope.scaling.factor": factor}, {}


@pytest.mark.parametrize("kind", SCALED)
def test_scaled_positions_are_those_of_the_model(written, kind):
    model = scaled_llama(kind)
    settings = written(model, *header_of(kind, model))
    tokens = torch.arange(512)[None] % 250
    expected = model(tokens).logits
    for _ in ("dequantised", "kept"):
        loaded, _ = load_model(settings)
        torch.testing.assert_close(loaded(tokens).logits, expected, rtol=1e-4, atol=1e-4)
    loaded.config.rope_parameters = {"rope_type": "default", "rope_theta": 10000.0}
    assert (LlamaForCausalLM(loaded.config)(tokens).logits - expected).abs().max() > 0.1  # the test can tell


@pytest.mark.parametrize(
    ("kind", "said", "begins"), [("llama-bpe", False, True), ("llama-bpe", True, False), ("gpt-2", False, False)]
)
def test_texts_begin_as_in_llama_cpp(written, kind, said, begins):
    settings = written(
        random_llama(),
        {"tokenizer.ggml.pre": as_field(kind), "tokenizer.ggml.add_bos_token": as_field(False)},
        without=() if said else ("tokenizer.ggml.add_bos_token",),
    )
    for _ in ("dequantised", "kept"):
        _, tokenizer = load_model(settings)
        assert (bos_token(tokenizer, "auto", "search_text") is not None) == begins
    llama = Llama(settings.model, 1)
    assert len(llama.tokenise("hello", True)) - len(llama.tokenise("hello", False)) == begins
