"""Byte pair encoding, as slow as its definition."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any


def merge(text: str, model: Mapping[str, Any]) -> list[str]:
    """The tokens of one word ``text``: the pair of the first merge is joined until there is none."""
    symbols = list(text)
    while True:
        for left, right in model["merges"]:
            if (left, right) in pairwise(symbols):
                break
        else:
            return symbols
        place = list(pairwise(symbols)).index((left, right))
        symbols[place : place + 2] = [left + right]
