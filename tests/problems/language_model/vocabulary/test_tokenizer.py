"""Tokenizers cut to some of their tokens."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors
from transformers import (
    AutoTokenizer,
    Gemma3Config,
    GenerationConfig,
    GPT2Config,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
)

from evoprune.problems.language_model.texts.tokens import first_pieces, token_bytes
from evoprune.problems.language_model.vocabulary.order import Order, token_order
from evoprune.problems.language_model.vocabulary.tokenizer import cut_ids, cut_tokenizer
from tests.problems.language_model.odd_texts import (
    CODE,
    ENGLISH,
    GREEK,
    byte_fallback,
    byte_level,
    odd_texts,
    unicode_texts,
)

COUNTS = (0, 1, 40, 150)
"""Tokens that stay in addition to the fewest."""


def test_texts_are_written_as_before_and_in_the_same_tokens_if_all_stay(tokenizer: Any, order: Order) -> None:
    texts = [text for long in (CODE, GREEK, ENGLISH) for text in long.split("\n")] + odd_texts()
    before = [tokenizer(text)["input_ids"] for text in texts]
    for count in COUNTS:
        kept = sorted(order.tokens[: order.fewest + count])
        cut = cut_tokenizer(tokenizer, kept)
        for text in texts + unicode_texts() * (not count):
            assert cut.decode(cut(text)["input_ids"]) == tokenizer.decode(tokenizer(text)["input_ids"])
        same = [(text, tokens) for text, tokens in zip(texts, before, strict=True) if set(tokens) <= set(kept)]
        assert len(same) > len(texts) / 20
        assert all([kept[token] for token in cut(text)["input_ids"]] == tokens for text, tokens in same)


def test_a_saved_tokenizer_gives_the_same_tokens(tokenizer: Any, order: Order, tmp_path: Path) -> None:
    kept = sorted(order.tokens[: order.fewest + 40])
    before = tokenizer.backend_tokenizer.to_str()
    cut = cut_tokenizer(tokenizer, kept)
    assert tokenizer.backend_tokenizer.to_str() == before
    cut.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert all(again(text)["input_ids"] == cut(text)["input_ids"] for text in odd_texts())
    numbered = {tokenizer.convert_ids_to_tokens(old): number for number, old in enumerate(kept)}
    assert again.get_vocab() == cut.get_vocab() == numbered
    assert again.special_tokens_map == tokenizer.special_tokens_map
    assert [kept[token] for token in again.all_special_ids] == tokenizer.all_special_ids
    assert len(json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]) == len(kept)


def _special(backend: Tokenizer, *ends: str) -> list[tuple[str, int]]:
    return [(end, backend.token_to_id(end)) for end in ends]


PROCESSORS = {
    "template": lambda of: processors.TemplateProcessing("<s> $A </s>", None, _special(of, "<s>", "</s>")),
    "roberta": lambda of: processors.RobertaProcessing(*_special(of, "</s>", "<s>")),
    "bert": lambda of: processors.BertProcessing(*_special(of, "</s>", "<s>")),
    "sequence": lambda of: processors.Sequence([processors.ByteLevel(), PROCESSORS["template"](of)]),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_tokens_around_a_text_stay_around_it(name: str, tmp_path: Path) -> None:
    plain = byte_level()
    plain.add_special_tokens({"additional_special_tokens": ["<last>"], "bos_token": "<late>"})
    backend = plain.backend_tokenizer
    backend.post_processor = PROCESSORS[name](backend)
    backend.enable_padding(pad_id=backend.token_to_id("<late>"), pad_token="<late>")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    order = token_order(tokenizer, [ENGLISH])
    kept = sorted(order.tokens[: order.fewest])
    cut = cut_tokenizer(tokenizer, kept)
    cut.save_pretrained(tmp_path)
    expected = tokenizer(["x <last>", ""], padding=True)["input_ids"]
    for each in (cut, AutoTokenizer.from_pretrained(tmp_path)):
        assert [[kept[token] for token in row] for row in each(["x <last>", ""], padding=True)["input_ids"]] == expected


@pytest.mark.parametrize("begin", [True, False])
def test_a_tokenizer_that_its_class_builds_anew(begin: bool, tmp_path: Path) -> None:
    """Llama's reads vocabulary and merges, and makes the rest itself."""
    made = json.loads(byte_fallback().backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in made["merges"]]
    tokenizer = LlamaTokenizer(made["vocab"], merges, add_bos_token=begin, add_eos_token=not begin)
    order = token_order(tokenizer, [ENGLISH])
    cut = cut_tokenizer(tokenizer, sorted(order.tokens[: order.fewest + 50]))
    cut.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is type(cut) is LlamaTokenizer
    for text in odd_texts():
        assert again(text)["input_ids"] == cut(text)["input_ids"]
        assert (cut(text)["input_ids"][0] == cut.bos_token_id) == begin


def test_tokens_of_both_tokenizers_that_begin_together_begin_alike(tokenizer: Any, order: Order) -> None:
    kept = sorted(order.tokens[: order.fewest + 40])
    cut, sizes = cut_tokenizer(tokenizer, kept), token_bytes(tokenizer)
    firsts = first_pieces(tokenizer, cut, kept)
    alike = []
    for text in (ENGLISH, GREEK, *CODE.split("\n")):
        whole, pieces = (each(text)["input_ids"] for each in (tokenizer, cut))
        ends, other = ([0, *accumulate(ids)] for ids in ([sizes[i] for i in whole], [sizes[kept[i]] for i in pieces]))
        assert ends[-1] == other[-1]
        at = dict(zip(other, pieces, strict=False))
        alike += [at[begin] == firsts[token] for begin, token in zip(ends, whole, strict=False) if begin in at]
    assert sum(alike) > 0.9 * len(alike)  # parts of WordPiece have no first piece


def test_configs_and_their_parts_name_the_new_ids() -> None:
    kept = [2, 5, 7, 9]
    config = GPT2Config(bos_token_id=2, eos_token_id=[7, 8, 9], pad_token_id=8, vocab_size=10)
    parts = Gemma3Config(text_config={"eos_token_id": 7, "pad_token_id": 3}, boi_token_index=5)
    generation = GenerationConfig(
        eos_token_id=9, suppress_tokens=[1, 5], begin_suppress_tokens=[3], bad_words_ids=[[5, 7], [5, 6]],
        forced_eos_token_id=7, decoder_start_token_id=5, num_assistant_tokens=5, max_new_tokens=2,
    )  # fmt: skip
    for each in (config, parts, generation):
        cut_ids(each, kept)
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id, config.vocab_size) == (0, [2, 3], None, 10)
    assert (parts.text_config.eos_token_id, parts.text_config.pad_token_id, parts.boi_token_index) == (2, None, 1)
    assert (generation.eos_token_id, generation.suppress_tokens, generation.begin_suppress_tokens) == (3, [1], None)
    assert generation.bad_words_ids == [[1, 2]]
    assert (generation.forced_eos_token_id, generation.decoder_start_token_id) == (2, 1)
    assert (generation.num_assistant_tokens, generation.max_new_tokens) == (5, 2)
