"""A base file is read, and one that cannot be used is refused in a line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune import InputError
from problems.gguf import ggml
from problems.gguf.base import TOKENS, read_base
from problems.gguf.encoded import Encoded
from problems.gguf.find import find_base
from problems.gguf.own import own_base
from problems.gguf.write import contents
from problems.models.resident import Resident
from tests.problems.gguf.models import (
    VOCABULARY,
    base_of,
    byte_tokenizer,
    random_gpt2,
    random_llama,
    write_empty,
    write_model,
)


def resident(model, source="owner/name"):
    return Resident(model, byte_tokenizer(), source)


@pytest.fixture
def path(tmp_path):
    return write_model(random_llama(), tmp_path / "base.gguf")


def test_the_source_is_the_base_or_what_is_given(path):
    assert find_base(resident(random_llama(), str(path))).path == path
    assert find_base(resident(random_llama()), str(path)).path == path


@pytest.mark.parametrize("form", ["norms plus 1", "rows in another order"])
def test_weights_that_a_file_holds_in_another_form_are_refused(form, path):
    model = random_llama()
    attention = model.model.layers[0].self_attn
    if form == "norms plus 1":
        model.model.layers[0].input_layernorm.weight.data += 1
    else:
        attention.q_proj.weight.data = attention.q_proj.weight[torch.randperm(64)]
    with pytest.raises(InputError, match=r"base\.gguf: llama.cpp keeps blk\.0\.attn_.* in another form"):
        find_base(resident(model), str(path))


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_a_quantised_base_is_one_of_the_model(kind, tmp_path):
    model = random_llama()
    path = tmp_path / "quantised.gguf"
    encoded = {
        name: Encoded(kind, ggml.quantize(weight.numpy(), kind))
        for name, weight in model.named_parameters()
        if weight.dim() == 2
    }
    contents(model, base_of(model), encoded).write(path)
    assert find_base(resident(model), str(path)).path == path


def test_a_gpt2_is_its_own_base_and_another_model_needs_one():
    assert find_base(resident(random_gpt2())).architecture == "gpt2"
    with pytest.raises(InputError, match=r"owner/name: .*give it with --base"):
        find_base(resident(random_llama()))


def test_tokens_that_have_no_row_of_the_embedding_are_left_out():
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]", "eos_token": "[PAD]"})
    base, without = (own_base(random_gpt2(), each, "tiny") for each in (tokenizer, byte_tokenizer()))
    assert len(tokenizer) == VOCABULARY + 1
    assert base.fields[TOKENS] == without.fields[TOKENS]
    assert without.fields.keys() - base.fields.keys() == {"tokenizer.ggml.eos_token_id"}


def test_a_tokenizer_written_in_python_gives_no_base():
    assert own_base(random_gpt2(), object(), "tiny") is None


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"base\.gguf: is no .gguf file, or a truncated one"):
        read_base(path)


def test_what_is_missing_or_has_no_tokenizer_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_base(tmp_path / "nothing.gguf")
    with pytest.raises(InputError, match="holds no tokenizer"):
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


def test_other_tokens_are_another_model(path):
    base = read_base(path)
    vocabulary = byte_tokenizer().get_vocab()
    base.refuse_another(base.shapes, vocabulary)
    turned = {token: len(vocabulary) - 1 - number for token, number in vocabulary.items()}
    with pytest.raises(InputError, match="is the file of another model: 260 of the model's 260 tokens are others"):
        base.refuse_another(base.shapes, turned)
    replace(base, path=None).refuse_another({}, turned)  # made of the model itself
