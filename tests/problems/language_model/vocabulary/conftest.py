"""Tokenizers of each kind that is cut, and their orders."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from evoprune.problems.language_model.vocabulary.order import Order, token_order
from tests.problems.language_model.odd_texts import ENGLISH, KINDS

_made = cache(lambda kind: KINDS[kind]())
_order = cache(lambda kind: token_order(_made(kind), [ENGLISH]))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of tokenizer in turn."""
    return str(request.param)


@pytest.fixture
def tokenizer(kind: str) -> Any:
    """A tokenizer of hundreds of tokens, trained on English, Greek and code."""
    return _made(kind)


@pytest.fixture
def order(kind: str) -> Order:
    """The order of its tokens by a sentence of English."""
    return _order(kind)
