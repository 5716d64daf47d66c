"""The base of a GPT-2 whose tokenizer is GPT-2's kind, made from its own config: such a model needs no base file."""

from __future__ import annotations

import json
from typing import Any

from gguf import GGUFValue, GGUFValueType, TokenType

from problems.gguf.base import TOKENS, Base, whole_number
from problems.models.load import added_bos_token

GPT2 = "gpt2"

_SPLIT = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
"""How GPT-2 splits text before its pairs of bytes are merged."""


def own_base(model: Any, tokenizer: Any, name: str) -> Base | None:
    """The base of ``model``, which is called ``name``; None where it is another kind of model or of tokenizer."""
    config = model.config
    backend = getattr(tokenizer, "backend_tokenizer", None)  # tokenizers in Python have none
    if config.model_type != GPT2 or backend is None:
        return None
    described = json.loads(backend.to_str())
    split = described["pre_tokenizer"] or {}
    if described["normalizer"] or any(split.get(key) != _SPLIT[key] for key in _SPLIT):
        return None
    numbers = {
        "context_length": config.n_positions, "embedding_length": config.n_embd, "attention.head_count": config.n_head,
    }  # fmt: skip
    fields = {f"{GPT2}.{key}": whole_number(value) for key, value in numbers.items()}
    epsilon = GGUFValue(config.layer_norm_epsilon, GGUFValueType.FLOAT32)
    named = {"general.name": _text(name), f"{GPT2}.attention.layer_norm_epsilon": epsilon}
    return Base(GPT2, named | fields | _tokenizer(tokenizer, described, config.vocab_size))


def _tokenizer(tokenizer: Any, described: dict[str, Any], size: int) -> dict[str, Any]:
    """``described``: its JSON; ``size``: the rows of the embedding."""
    tokens = [f"[PAD{number}]" for number in range(size)]
    kinds = [int(TokenType.UNUSED)] * size
    for token, number in tokenizer.get_vocab().items():
        if number < size:  # one beyond it has no row of the embedding, and is never in a text
            tokens[number], kinds[number] = token, int(TokenType.NORMAL)
    for added in (each for each in described["added_tokens"] if each["id"] < size):
        kinds[added["id"]] = int(TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED)
    merges = [each if isinstance(each, str) else " ".join(each) for each in described["model"]["merges"]]
    ends = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}
    known = {
        f"tokenizer.ggml.{end}_token_id": whole_number(at) for end, at in ends.items() if at is not None and at < size
    }
    begins = added_bos_token(tokenizer) is not None
    return {
        "tokenizer.ggml.model": _text("gpt2"),
        "tokenizer.ggml.pre": _text("gpt-2"),
        TOKENS: GGUFValue(tokens, GGUFValueType.ARRAY, GGUFValueType.STRING),
        "tokenizer.ggml.token_type": GGUFValue(kinds, GGUFValueType.ARRAY, GGUFValueType.INT32),
        "tokenizer.ggml.merges": GGUFValue(merges, GGUFValueType.ARRAY, GGUFValueType.STRING),
        **known,
        "tokenizer.ggml.add_bos_token": GGUFValue(begins, GGUFValueType.BOOL),
    }


def _text(value: str) -> Any:
    return GGUFValue(value, GGUFValueType.STRING)
