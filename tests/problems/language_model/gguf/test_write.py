"""A written file is the model: transformers reads it back; and it has the bytes that were predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gguf import GGUFReader

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.blocks import keep_blocks
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from tests.problems.language_model.gguf.models import (
    VOCABULARY,
    base_of,
    byte_tokenizer,
    random_gpt2,
    random_llama,
    tensor_of,
)

MODELS = {
    "gpt2": random_gpt2,
    "untied": lambda: random_llama(tied=False),
    "heads of their own": lambda: random_llama(groups=4),
    "wide heads": lambda: random_llama(head=32),
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


def read_back(path):
    return Resident.load(ModelSettings(model=str(path), dtype="float32", device="cpu"))


def same_logits(one, other):
    tokens = torch.randint(VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return torch.allclose(*(each(tokens, use_cache=False).logits for each in (one, other)), atol=1e-3)


@pytest.mark.parametrize(("kind", "half"), [("Q8_0", "F16"), ("Q4_0", "F32")])
def test_a_smaller_quantised_model_is_read_back_and_its_bytes_are_known_before(model, kind, half, tmp_path):
    base, encoded, path = base_of(model), {}, tmp_path / "smaller.gguf"
    keep_blocks(model, [0, 2])
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and "wpe" not in name:
            transposed = "c_" in name
            data = ggml.quantize((weight.T if transposed else weight).numpy(), kind)
            encoded[name] = GgmlMatrix(kind, data)
            rows = torch.from_numpy(ggml.dequantize(data, kind, weight.shape[0 if transposed else 1]))
            weight.data.copy_(rows.T if transposed else rows)
    made = contents(model, base, encoded, half)
    made.write(path)
    assert made.bytes == path.stat().st_size
    back = read_back(path).model
    assert back.config.num_hidden_layers == 2
    assert same_logits(model, back)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(path).tensors}
    assert kinds["token_embd.weight"] == kind
    assert kinds["output_norm.weight"] == "F32"


def test_a_written_file_is_a_base(tmp_path):
    model = random_llama()
    extra = {"rope_freqs.weight": np.linspace(1, 8, 8, dtype=np.float32)}
    kept = {name: tensor_of(array) for name, array in extra.items()}
    contents(model, replace(base_of(model), extra_tensors=kept), {}).write(tmp_path / "base.gguf")
    base = find_base(Resident(model, byte_tokenizer(), "owner/name"), str(tmp_path / "base.gguf"))
    assert base.fields.keys() >= base_of(model).fields.keys()
    assert base.extra_tensors["rope_freqs.weight"].data.tobytes() == extra["rope_freqs.weight"].tobytes()
    contents(model, base, {}).write(tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "base.gguf").read_bytes()
