"""Orders of tokens: each prefix is closed under merges, and the most used tokens come first."""

from __future__ import annotations

from typing import Any

import pytest

from evoprune import InputError
from problems.transforms.vocabulary.order import Order, order_of
from problems.transforms.vocabulary.tokenizer import cut_tokenizer, describe
from tests.problems.transforms.vocabulary.slow import merge

TEXT = "The gradient of the loss is zero. Ωδή 漢字 🙂 def f(x):\n    return x\n" * 3


@pytest.fixture(scope="module")
def order(bundled: Any) -> Order:
    return order_of(bundled, [TEXT])


def test_each_prefix_is_closed_under_merges(bundled: Any, order: Order) -> None:
    for count in (order.fewest, order.fewest + 1, 300, 301, 700, 1500):
        model = describe(cut_tokenizer(bundled, sorted(order.tokens[:count])))["model"]
        assert len(model["vocab"]) == count
        unreached = [token for token in model["vocab"] if merge(token, model) != [token]]
        assert unreached == ["<|endoftext|>"]


def test_an_order_has_each_token_once(bundled: Any, order: Order) -> None:
    assert sorted(order.tokens) == sorted(bundled.get_vocab().values())


def test_unknown_keep(bundled: Any) -> None:
    with pytest.raises(InputError, match=r"vocabulary\.keep: .*zygomorphic"):
        order_of(bundled, [TEXT], keep=[" loss", "zygomorphic"])
