"""Tokenizers cut to some of their tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from problems.transforms.vocabulary.order import Order, order_of
from problems.transforms.vocabulary.tokenizer import cut_tokenizer

TEXT = "The gradient of the loss is zero. Ωδή 漢字 🙂 def f(x):\n    return x\n" * 3


@pytest.fixture(scope="module")
def order(bundled: Any) -> Order:
    return order_of(bundled, [TEXT])


def test_a_text_whose_tokens_stay_has_the_same_tokens(bundled: Any, order: Order) -> None:
    kept = sorted(order.tokens[: order.fewest + len(set(bundled(TEXT)["input_ids"])) * 4])
    found = cut_tokenizer(bundled, kept)(TEXT)["input_ids"]
    assert [kept[token] for token in found] == bundled(TEXT)["input_ids"]


def test_a_saved_tokenizer_gives_the_same_tokens(bundled: Any, order: Order, tmp_path: Path) -> None:
    cut = cut_tokenizer(bundled, sorted(order.tokens[:500]))
    cut.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = TEXT + "<|endoftext|> nothing of this was in the text: ∀ 漢字"
    assert again(text)["input_ids"] == cut(text)["input_ids"]
    assert again.decode(again(text)["input_ids"]) == text
    assert type(again) is type(bundled)
    assert (again.eos_token_id, len(again)) == (0, 500)
