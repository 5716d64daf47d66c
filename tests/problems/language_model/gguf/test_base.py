"""A base file is read, and one that cannot be used is refused in a line."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import find_base, make_base, read_base
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.llama import Llama
from evoprune.problems.language_model.gguf.reader import read_gguf
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.resident import Resident
from tests.problems.language_model.gguf.architectures import ARCHITECTURES
from tests.problems.language_model.gguf.models import (
    END,
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


def test_a_head_that_is_the_embedding_once_more_is_left_out(tmp_path):
    tied, untied = random_llama(), random_llama(tied=False)
    untied.load_state_dict(tied.state_dict())
    path = write_model(untied, tmp_path / "twice.gguf")
    made = contents(tied, find_base(resident(tied), str(path)), {})
    assert "output.weight" not in made.kinds
    untied.lm_head.weight.data = torch.randn(260, 64)
    with pytest.raises(InputError, match=r"output\.weight is 260 x 64 there, and missing in the model"):
        find_base(resident(tied), str(write_model(untied, path)))


def test_unchanged_vectors_are_copied_and_changed_ones_written(tmp_path):
    """A model in bfloat16 has lost digits of the file's norms."""
    model, path = random_llama(), tmp_path / "exact.gguf"
    for block in model.model.layers:
        block.input_layernorm.weight.data += 1e-4
    there = read_gguf(write_model(model, path)).tensors
    rounded = model.bfloat16()
    base = find_base(resident(rounded), str(path))
    rounded.model.layers[1].input_layernorm.weight.data[0] = 2
    contents(rounded, base, {}).write(tmp_path / "again.gguf")
    again = read_gguf(tmp_path / "again.gguf").tensors
    assert again["blk.0.attn_norm.weight"].data.tobytes() == there["blk.0.attn_norm.weight"].data.tobytes()
    assert again["blk.1.attn_norm.weight"].data.view("float32")[0, 0] == 2


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_a_quantised_base_is_one_of_the_model(kind, tmp_path):
    model, path = random_llama(), tmp_path / "quantised.gguf"
    matrices = {name: weight.numpy() for name, weight in model.named_parameters() if weight.dim() == 2}
    encoded = {name: GgmlMatrix(kind, ggml.quantize(weight, kind)) for name, weight in matrices.items()}
    contents(model, base_of(model), encoded).write(path)
    assert find_base(resident(model), str(path)).file.path == path


def test_a_model_is_its_own_base_where_its_tokenizer_can_be_written(path):
    assert find_base(resident(random_llama(), str(path))).file.path == path
    assert find_base(resident(random_gpt2())).architecture == "gpt2"
    assert find_base(resident(random_llama())).architecture == "llama"
    assert make_base(random_gpt2(), object(), "a tokenizer written in Python") is None
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = _split_by(r"\p{L}+")
    assert make_base(random_gpt2(), tokenizer, "tiny") is None
    with pytest.raises(InputError, match=r"owner/name: .*--base"):
        find_base(resident(ARCHITECTURES["phi3"].model()))


def test_a_file_that_cannot_be_used_is_refused(tmp_path):
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


def _split_by(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm2": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama 3": _split_by(_WORDS + r"\p{N}{1,3}" + _REST),
    "qwen2": _split_by(_WORDS + r"\p{N}" + _REST),
}


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_llama_cpp_splits_a_text_as_the_tokenizer_of_the_folder(split, whole, tmp_path):
    """Numbers of several digits are one token where nothing splits them, or where whole words are looked for first."""
    signs, merges = sorted(pre_tokenizers.ByteLevel.alphabet()), [("1", "2"), ("12", "3"), ("123", "4")]
    tokens = [END, *signs, *("".join(pair) for pair in merges)]
    made = Tokenizer(models.BPE({each: place for place, each in enumerate(tokens)}, merges, ignore_merges=whole))
    made.pre_tokenizer = SPLITS[split]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=END, eos_token=END)
    contents(random_gpt2(), make_base(random_gpt2(), tokenizer, "tiny"), {}).write(tmp_path / "tiny.gguf")
    text = "It's 1234 or 12345, don't\n\n  CAN'T 123456! x1234"
    assert Llama(str(tmp_path / "tiny.gguf"), 1).tokenise(text).tolist() == tokenizer(text)["input_ids"]
