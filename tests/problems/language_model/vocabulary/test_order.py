"""Orders of tokens: each prefix is closed under merges, and the most used tokens come first."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from evoprune import InputError
from evoprune.problems.language_model.vocabulary.order import (
    PARTS,
    SYMBOLS,
    Order,
    token_frequencies,
    token_order,
)
from evoprune.problems.language_model.vocabulary.tokenizer import cut_tokenizer, tokenizer_json
from tests.problems.language_model.odd_texts import ENGLISH, GREEK, byte_fallback, byte_level, unigram


def merge(text: str, model: Mapping[str, Any]) -> list[str]:
    """Encode one word ``text`` by definition: join the pair of the first merge until there is none."""
    symbols = list(text)
    while True:
        for left, right in model["merges"]:
            if (left, right) in pairwise(symbols):
                break
        else:
            return symbols
        place = list(pairwise(symbols)).index((left, right))
        symbols[place : place + 2] = [left + right]


@pytest.mark.parametrize("kind", ["byte_level", "byte_fallback"])
def test_each_prefix_is_closed_under_merges_and_has_each_token_once(tokenizer: Any, order: Order) -> None:
    assert sorted(order.tokens) == sorted(tokenizer.get_vocab().values())
    always = set(tokenizer.convert_ids_to_tokens(order.tokens[: order.fewest]))
    for count in range(order.fewest, len(order.tokens) + 1, 89):
        model = tokenizer_json(cut_tokenizer(tokenizer, sorted(order.tokens[:count])))["model"]
        unreached = {token for token in model["vocab"] if merge(token, model) != [token]}
        assert len(model["vocab"]) == count
        assert unreached <= always
        assert all(token.startswith("<") for token in unreached)


def bpe(*merges: tuple[str, str], **options: Any) -> Any:
    """A tokenizer of single letters and of ``merges``."""
    tokens = [*"abcdxy", *("".join(pair) for pair in merges)]
    model = models.BPE({token: number for number, token in enumerate(tokens)}, list(merges), **options)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))


@pytest.mark.parametrize("ignore_merges", [False, True])
def test_tokens_that_merging_does_not_reach_are_left_out(ignore_merges: bool) -> None:
    """The parts ``a`` and ``bc`` of ``abc`` never meet: ``ab`` is merged first. A whole word may need no merging."""
    tokenizer = bpe(("a", "b"), ("b", "c"), ("a", "bc"), ("ab", "b"), ignore_merges=ignore_merges)
    order = token_order(tokenizer, ["abc"])
    assert ("abc" in tokenizer.convert_ids_to_tokens(order.tokens)) == ignore_merges
    assert ("abc" in tokenizer.tokenize("abc")) == ignore_merges


def test_a_token_is_used_where_it_is_a_part_of_others() -> None:
    tokenizer = bpe(("x", "y"), ("a", "b"), ("ab", "c"), ("ab", "d"))
    order = token_order(tokenizer, ["abc" * 3 + "abd" * 4 + "xy" * 5])
    assert tokenizer.convert_ids_to_tokens(order.tokens)[-4:] == ["ab", "xy", "abd", "abc"]


def test_a_missing_token_that_comes_again_soon_costs_once() -> None:
    tokenizer = bpe(("a", "b"))
    order = token_order(tokenizer, ["c"])
    letter, missing = tokenizer.convert_tokens_to_ids(["c", "ab"])
    once, soon, late = (numpy.full(1024, letter) for _ in range(3))
    once[0] = soon[:9] = late[[0, -1]] = missing
    lost = [order.expected_loss(token_frequencies(text), len(order.tokens) - 1) for text in (once, soon, late)]
    assert 0 < lost[0] == lost[1] == pytest.approx(lost[2] / 2)


def test_used_tokens_come_before_others_and_scripts_of_the_texts_before_other_scripts() -> None:
    tokenizer = byte_level()
    order = token_order(tokenizer, [ENGLISH])
    used = set(tokenizer(ENGLISH)["input_ids"]) - set(order.tokens[: order.fewest])
    rest = [place for place, token in enumerate(order.tokens) if token not in used]
    greek = [place for place, script in enumerate(order.script_of) if script == "Greek"]
    latin = [place for place, script in enumerate(order.script_of) if script == "Latin"]
    assert max(order.tokens.index(token) for token in used) < len(rest)
    assert max(latin) < min(greek)
    assert order.scripts(min(greek))["Greek"] == (0, len(greek))
    assert order.scripts(len(order.tokens))["Latin"] == (len(latin), len(latin))
    assert {SYMBOLS, PARTS} < set(order.script_of)


@pytest.mark.parametrize("keep", [" argument", "Ġargument"])
def test_kept_tokens_stay_with_all_that_they_are_merged_from(keep: str) -> None:
    tokenizer = byte_level()
    order = token_order(tokenizer, [GREEK], keep=[keep])
    kept = sorted(order.tokens[: order.fewest])
    assert len(cut_tokenizer(tokenizer, kept)(" argument")["input_ids"]) == 1
    assert order.fewest > token_order(tokenizer, [GREEK]).fewest + 1


@pytest.mark.parametrize("make", [byte_level, byte_fallback, unigram])
def test_single_characters_spaces_and_tokens_of_the_chat_template_stay(make: Any) -> None:
    tokenizer = make()
    tokenizer.chat_template = "{% for each in messages %}<s>{{ each.role }}</s> option:{{ each.content }}{% endfor %}"
    order = token_order(tokenizer, [GREEK])
    kept = sorted(order.tokens[: order.fewest])
    if make is not byte_level:
        single = {token for token in tokenizer.get_vocab() if len(token) == 1 or not token.strip("▁")}
        stay = {token for token in single if make is unigram or token in "βγδ" or token.isascii() or "▁" in token}
        assert stay <= set(tokenizer.convert_ids_to_tokens(kept))
    messages = [{"role": "user", "content": ""}]
    before, after = (
        each.apply_chat_template(messages, return_dict=False) for each in (tokenizer, cut_tokenizer(tokenizer, kept))
    )
    assert [kept[token] for token in after] == before


class InPython:
    """A tokenizer without a tokenizer.json."""


def of_words() -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")))


def twice() -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram([("a", -1.0), ("b", -2.0), ("a", -3.0)])))


@pytest.mark.parametrize(
    ("make", "texts", "keep", "facts"),
    [
        (InPython, [ENGLISH], [], r"vocabulary: InPython .*tokenizer\.json"),
        (of_words, [ENGLISH], [], "vocabulary: .*WordLevel.*BPE, Unigram, WordPiece"),
        (twice, [ENGLISH], [], "vocabulary: .*1 tokens? twice"),
        (lambda: bpe(end_of_word_suffix="</w>"), [ENGLISH], [], "vocabulary: "),
        (unigram, ["漢字" + ENGLISH], [], "vocabulary: .*Han.*Greek, Latin"),
        (byte_level, [ENGLISH], [" option", "zygomorphic"], r"vocabulary\.keep: 'zygomorphic'"),
        (unigram, [ENGLISH], ["漢"], r"vocabulary\.keep: '漢'"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_a_line(make: Any, texts: list[str], keep: list[str], facts: str) -> None:
    with pytest.raises(InputError, match=facts) as refused:
        token_order(make(), texts, keep=keep)
    assert "\n" not in str(refused.value)
