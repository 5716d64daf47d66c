"""Cuts the tokenizer in the metadata of a .gguf file to some of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evoprune import InputError
from evoprune.problems.language_model.gguf.metadata import TOKENS, Fields

_OF_TOKENS = (TOKENS, "tokenizer.ggml.scores", "tokenizer.ggml.token_type")  # arrays with an entry a token
_MERGES = "tokenizer.ggml.merges"
_WHOLE = "tokenizer.huggingface.json"  # the tokenizer once more, which llama.cpp does not read


def cut_fields(fields: Fields, kept: Sequence[int]) -> Fields:
    """The metadata with the tokens ``kept``, increasing ids, alone; a token's new id is its place there.

    Special tokens that are not kept are no longer named. Raises :class:`evoprune.InputError` for tokens that occur
    twice, which llama.cpp does not load.
    """
    new = {old: number for number, old in enumerate(kept)}
    tokens = [fields[TOKENS].value[old] for old in kept]
    known = set(tokens)
    if len(known) < len(tokens):
        twice = next(token for place, token in enumerate(tokens) if token in tokens[:place])
        raise InputError(f"the tokenizer of the .gguf file has the token '{twice}' twice", TOKENS)
    cut = {}
    for key, field in fields.items():
        value: Any = field.value
        if key in _OF_TOKENS:
            value = [value[old] for old in kept]
        elif key == _MERGES:
            value = [merge for merge in value if _stays(merge, known)]
        elif key.endswith("_token_id"):
            value = new.get(value)
        elif key.endswith(".vocab_size"):
            value = len(kept)
        if value is not None and key != _WHOLE:
            cut[key] = replace(field, value=value)
    return cut


def _stays(merge: str, tokens: set[str]) -> bool:
    left, _, right = merge.partition(" ")
    return {left, right, left + right} <= tokens
