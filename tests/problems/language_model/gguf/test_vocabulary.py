"""Cut tokenizers in .gguf files: llama.cpp reads texts in the same tokens as transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gguf import GGUFValue, GGUFValueType, GGUFWriter, TokenType
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib
from transformers import GPT2Config

from evoprune import InputError
from evoprune.problems.language_model.gguf import llama
from evoprune.problems.language_model.gguf.base import TOKENS, Fields, as_field, cut_fields, make_fields
from tests.problems.language_model.odd_texts import CODE, ENGLISH, GREEK, byte_fallback, byte_level, odd_texts

pytest.importorskip("evoprune.problems.language_model.vocabulary")

from evoprune.problems.language_model.vocabulary.order import token_order
from evoprune.problems.language_model.vocabulary.tokenizer import cut_tokenizer

TEXTS = [*odd_texts(), CODE, ENGLISH, GREEK]


def fields_of(tokenizer: Any, scores: bool) -> Fields:
    """The metadata of a GPT-2. ``scores``: its tokenizer has scores in place of merges, as SentencePiece's has."""
    size = len(tokenizer)
    made = make_fields(SimpleNamespace(config=GPT2Config(vocab_size=size)), byte_level(), "tiny")
    assert made is not None
    fields = {**made, "gpt2.block_count": as_field(1), "gpt2.feed_forward_length": as_field(8)}
    fields["gpt2.vocab_size"] = as_field(size)
    if not scores:
        return fields
    tokens = tokenizer.convert_ids_to_tokens(range(size))
    kinds = [TokenType.BYTE if token.startswith("<0x") else TokenType.NORMAL for token in tokens]
    kinds[:3] = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    del fields["tokenizer.ggml.merges"]
    return fields | {
        "tokenizer.ggml.model": as_field("llama"),
        TOKENS: as_field(tokens),
        "tokenizer.ggml.scores": GGUFValue(
            [-float(n) for n in range(size)], GGUFValueType.ARRAY, GGUFValueType.FLOAT32
        ),
        "tokenizer.ggml.token_type": as_field(list(map(int, kinds))),
        "tokenizer.ggml.add_space_prefix": as_field(False),
        **{f"tokenizer.ggml.{end}_token_id": as_field(n) for n, end in enumerate(("unknown", "bos", "eos"))},
        "tokenizer.huggingface.json": as_field("{}"),
    }


def tokenise_in_llama(fields: Fields, path: Path) -> Callable[[str], list[int]]:
    """llama.cpp's tokenizer of a file with ``fields`` and without a model."""
    writer = GGUFWriter(path, "gpt2")
    for key, field in fields.items():
        writer.add_key_value(key, field.value, field.type, field.sub_type)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    library = get_lib()
    library.llama_log_set(llama._log, get_ffi().NULL)
    params = library.llama_model_default_params()
    params.vocab_only = True
    model = library.llama_model_load_from_file(str(path).encode(), params)
    assert model
    reader = SimpleNamespace(_vocabulary=library.llama_model_get_vocab(model))
    return lambda each: llama.Llama.tokenise(reader, each).tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_llama_cpp_gives_the_ids_of_the_cut_tokenizer(make: Any, tmp_path: Path) -> None:
    tokenizer = make()
    fields = fields_of(tokenizer, scores=make is byte_fallback)
    whole = tokenise_in_llama(fields, tmp_path / "whole.gguf")
    alike = [each for each in TEXTS if whole(each) == tokenizer(each)["input_ids"]]
    assert len(alike) > 0.9 * len(TEXTS)
    order = token_order(tokenizer, [ENGLISH])
    for count in (order.fewest, order.fewest + 30, order.fewest + 130, len(order.tokens)):
        kept = sorted(order.tokens[:count])
        cut, there = cut_tokenizer(tokenizer, kept), cut_fields(fields, kept)
        found = tokenise_in_llama(there, tmp_path / f"{count}.gguf")
        assert [each for each in alike if found(each) != cut(each)["input_ids"]] == []
        assert there[TOKENS].value == cut.convert_ids_to_tokens(range(count))


def test_ids_and_sizes_are_those_of_the_cut_tokenizer() -> None:
    tokenizer = byte_fallback()
    fields = fields_of(tokenizer, scores=True)
    fields = {**fields, "tokenizer.ggml.eot_token_id": as_field(len(tokenizer) - 1)}
    kept = [0, 2, 5, 400, len(tokenizer) - 1]
    cut = {key: field.value for key, field in cut_fields(fields, kept).items()}
    assert cut["gpt2.vocab_size"] == len(kept)
    assert cut["tokenizer.ggml.eos_token_id"] == 1
    assert cut["tokenizer.ggml.eot_token_id"] == 4
    assert "tokenizer.ggml.bos_token_id" not in cut  # token 1, which is not kept
    assert "tokenizer.huggingface.json" not in cut
    assert cut["tokenizer.ggml.scores"] == [-float(old) for old in kept]
    assert len(cut["tokenizer.ggml.token_type"]) == len(kept)


def test_tokens_that_occur_twice_are_refused() -> None:
    fields = fields_of(byte_level(), scores=False)
    fields[TOKENS].value[300] = fields[TOKENS].value[301]
    with pytest.raises(InputError, match=r"tokenizer\.ggml\.tokens: .*twice"):
        cut_fields(fields, range(302))
    assert len(cut_fields(fields, range(301))[TOKENS].value) == 301
