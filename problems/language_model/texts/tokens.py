"""The tokens of a tokenizer: its JSON, the bytes of each token, and its first piece in a smaller vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from evoprune import InputError

KEY = "problem.transforms.vocabulary"

_MODELS = ("BPE", "Unigram", "WordPiece")


def tokenizer_json(tokenizer: Any) -> dict[str, Any]:
    """Return the JSON of a tokenizer. Raises :class:`evoprune.InputError` if it cannot be reduced."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"{type(tokenizer).__name__} has no tokenizer.json: give a model with a fast tokenizer", KEY)
    described: dict[str, Any] = json.loads(backend.to_str())
    model = described["model"]
    if model["type"] not in _MODELS:
        raise InputError(f"a tokenizer of type {model['type']} cannot be cut, only {', '.join(_MODELS)}", KEY)
    if model["type"] == "BPE" and (model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")):
        raise InputError("BPE with marks for parts of words cannot be cut, only BPE of bytes or of characters", KEY)
    ids = token_ids(model)
    twice = len(model["vocab"]) - len(ids)
    twice += sum(ids.get(each["content"], each["id"]) != each["id"] for each in described["added_tokens"])
    if twice:
        raise InputError(f"the tokenizer has {twice:,} tokens twice: give one in which each token occurs once", KEY)
    return described


def token_ids(model: Mapping[str, Any]) -> dict[str, int]:
    """Return the id of each token of the tokenizer ``model``."""
    if model["type"] == "Unigram":
        return {token: number for number, (token, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def byte_tokens(model: Mapping[str, Any]) -> set[str]:
    """Return the tokens for single bytes of the tokenizer ``model``; none without byte fallback."""
    return {f"<0x{byte:02X}>" for byte in range(256)} if model.get("byte_fallback") else set()


def token_bytes(tokenizer: Any) -> list[int]:
    """Return the number of bytes of text of each token, if the tokenizer does not normalise the text."""
    model = tokenizer_json(tokenizer)["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    single = byte_tokens(model)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return [1 if token in single else len((token or "").removeprefix(prefix).encode()) for token in tokens]


def first_pieces(tokenizer: Any, cut: Any, kept: Sequence[int]) -> list[int]:
    """Return the first token in which ``cut``, with the tokens ``kept``, encodes each token of ``tokenizer``.

    A remaining token encodes itself. A token that cannot be encoded alone, such as a part of a WordPiece, has the
    number after the last token.
    """
    new = {old: number for number, old in enumerate(kept)}
    model = cut.backend_tokenizer.model
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    prefix = tokenizer_json(tokenizer)["model"].get("continuing_subword_prefix")
    pieces = []
    for old, token in enumerate(tokens):
        encoded = [] if old in new or token is None or (prefix and token.startswith(prefix)) else model.tokenize(token)
        pieces.append(new[old] if old in new else encoded[0].id if encoded else len(kept))
    return pieces
