"""A base file is read, and one that cannot be used is refused in a line."""

from __future__ import annotations

import pytest
import torch

from evoprune import InputError
from problems.gguf import ggml
from problems.gguf.base import find_base, own_base, read_base
from problems.gguf.ggml import Encoded
from problems.gguf.write import contents
from problems.models.resident import Resident
from tests.problems.gguf.models import base_of, byte_tokenizer, random_gpt2, random_llama, write_empty, write_model


def resident(model, source="owner/name"):
    return Resident(model, byte_tokenizer(), source)


@pytest.fixture
def path(tmp_path):
    return write_model(random_llama(), tmp_path / "base.gguf")


@pytest.mark.parametrize("form", ["norms plus 1", "rows in another order"])
def test_weights_that_a_file_holds_in_another_form_are_refused(form, path):
    model = random_llama()
    attention = model.model.layers[0].self_attn
    if form == "norms plus 1":
        model.model.layers[0].input_layernorm.weight.data += 1
    else:
        attention.q_proj.weight.data = attention.q_proj.weight[torch.randperm(64)]
    with pytest.raises(InputError, match=r"base\.gguf: .*blk\.0\.attn_.*form"):
        find_base(resident(model), str(path))


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_a_quantised_base_is_one_of_the_model(kind, tmp_path):
    model, path = random_llama(), tmp_path / "quantised.gguf"
    matrices = {name: weight.numpy() for name, weight in model.named_parameters() if weight.dim() == 2}
    encoded = {name: Encoded(kind, ggml.quantize(weight, kind)) for name, weight in matrices.items()}
    contents(model, base_of(model), encoded).write(path)
    assert find_base(resident(model), str(path)).path == path


def test_a_gpt2_is_its_own_base_and_another_model_needs_one(path):
    assert find_base(resident(random_llama(), str(path))).path == path
    assert find_base(resident(random_gpt2())).architecture == "gpt2"
    assert own_base(random_gpt2(), object(), "a tokenizer written in Python") is None
    with pytest.raises(InputError, match=r"owner/name: .*--base"):
        find_base(resident(random_llama()))


def test_a_file_that_cannot_be_used_is_refused(path, tmp_path):
    whole = path.read_bytes()
    for share in (0.0, 0.001, 0.1, 0.5, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"base\.gguf: .*truncated"):
            read_base(path)
    with pytest.raises(InputError, match="No such file"):
        read_base(tmp_path / "nothing.gguf")
    with pytest.raises(InputError, match="no tokenizer"):
        read_base(write_empty(tmp_path / "empty.gguf"))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (lambda: random_llama(tied=False), "output.weight is missing there, and 260 x 64 in the model"),
        (lambda: random_llama(groups=4), "blk.0.attn_k.weight is 32 x 64 there, and 64 x 64 in the model"),
        (lambda: random_llama(blocks=2), "blk.2.attn_k.weight is 32 x 64 there, and missing in the model"),
        (random_gpt2, "transformer.wpe.weight has no place in .gguf files of the architecture llama"),
    ],
)
def test_the_file_of_another_model_is_refused(path, other, reason):
    with pytest.raises(InputError, match=reason):
        find_base(resident(other()), str(path))
