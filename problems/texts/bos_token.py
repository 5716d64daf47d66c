"""The token that a tokenizer puts before a text, such as ``<s>``: models that were trained with it need it."""

from __future__ import annotations

from typing import Any

from evoprune import InputError
from problems.texts.settings import Begin

_ANY = "0"
"""A text that every vocabulary has tokens for."""


def first_token(tokenizer: Any, begin: Begin, role: str) -> int | None:
    """The id of the token that each window begins with; None if ``begin`` or the tokenizer says that there is none.

    ``role`` names the text in errors. Raises :class:`evoprune.InputError` where ``begin`` asks for a token and the
    tokenizer has none.
    """
    if begin is False:
        return None
    added = _added(tokenizer)
    if added is not None or begin == "auto":
        return added
    if getattr(tokenizer, "bos_token_id", None) is None:
        raise InputError(
            "the tokenizer has no token that begins a text; expected auto or false", f"problem.{role}.begin"
        )
    return int(tokenizer.bos_token_id)


def _added(tokenizer: Any) -> int | None:
    """The id of the first token that the tokenizer adds before a text if it is not told otherwise."""
    plain = tokenizer(_ANY, add_special_tokens=False)["input_ids"]
    usual = tokenizer(_ANY, add_special_tokens=True)["input_ids"]
    return int(usual[0]) if usual and usual[: len(plain)] != plain else None
