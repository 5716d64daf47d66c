"""The metadata of a .gguf file: made of a model's config and tokenizer, or cut to some tokens."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gguf import GGUFValue, GGUFValueType, TokenType

from evoprune import InputError
from evoprune.problems.language_model.gguf.sources import OWN, pre_tokenizer
from evoprune.problems.language_model.models.load import added_bos_token

Fields = Mapping[str, Any]  # metadata by key: each value a GGUFValue with its type

TOKENS = "tokenizer.ggml.tokens"
_OF_TOKENS = (TOKENS, "tokenizer.ggml.scores", "tokenizer.ggml.token_type")  # arrays with an entry a token
_MERGES = "tokenizer.ggml.merges"
_WHOLE = "tokenizer.huggingface.json"  # the tokenizer once more, which llama.cpp does not read

_NUMBERS = {
    "context_length": "max_position_embeddings", "embedding_length": "hidden_size",
    "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim", "attention.value_length": "head_dim",
    "expert_used_count": "num_experts_per_tok",
}  # fmt: skip
_KINDS = {
    str: GGUFValueType.STRING, bool: GGUFValueType.BOOL, int: GGUFValueType.UINT32, float: GGUFValueType.FLOAT32,
}  # fmt: skip
_EPSILONS = {
    "rms_norm_eps": "layer_norm_rms_epsilon", "layer_norm_eps": "layer_norm_epsilon",
    "layer_norm_epsilon": "layer_norm_epsilon",
}  # fmt: skip


def as_field(value: Any) -> Any:
    """``value`` as metadata: a text, a flag, a whole number >= 0, a real one, or a list of texts or whole numbers."""
    if not isinstance(value, list):
        return GGUFValue(value, _KINDS[type(value)])
    kind = GGUFValueType.STRING if isinstance(next(iter(value), ""), str) else GGUFValueType.INT32
    return GGUFValue(value, GGUFValueType.ARRAY, kind)


def own_fields(model: Any, tokenizer: Any, name: str) -> Fields | None:
    """The metadata of ``model``, called ``name``; None for another type of model, or another kind of tokenizer."""
    config = model.config
    backend = getattr(tokenizer, "backend_tokenizer", None)  # tokenizers in Python have none
    architecture = OWN.get(config.model_type)
    if architecture is None or backend is None:
        return None
    described = json.loads(backend.to_str())
    if (split := pre_tokenizer(described)) is None:
        return None
    if not getattr(config, "norm_topk_prob", True):
        raise InputError(f"llama.cpp's {architecture} renormalises the weights of experts, and this model does not")
    fields: dict[str, Any] = {
        f"attention.{key}": float(getattr(config, name))
        for name, key in _EPSILONS.items()
        if getattr(config, name, None) is not None
    }
    numbers = {key: getattr(config, name, None) for key, name in _NUMBERS.items()}
    fields |= {key: int(value) for key, value in numbers.items() if value is not None} | _rotary(config)
    if hasattr(config, "use_parallel_residual"):
        fields["use_parallel_residual"] = bool(config.use_parallel_residual)
    fields = {f"{architecture}.{key}": value for key, value in fields.items()}
    fields = {"general.name": name} | fields | _tokenizer(tokenizer, described, split, config.vocab_size)
    return {key: as_field(value) for key, value in fields.items()}


def _rotary(config: Any) -> dict[str, Any]:
    """The rotation of positions. Raises :class:`evoprune.InputError` for a scaling that files cannot be given here."""
    if (rope := getattr(config, "rope_parameters", None)) is None:
        return {}
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    turned = int(size * rope.get("partial_rotary_factor", 1.0))
    fields = {"rope.freq_base": float(rope["rope_theta"]), "rope.dimension_count": turned}
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        fields |= {"rope.scaling.type": kind, "rope.scaling.factor": float(rope["factor"])}
    elif kind not in {"default", "llama3"}:
        raise InputError(f"its positions are scaled by '{kind}': give a .gguf file of the model with --base", "--base")
    return fields


def _tokenizer(tokenizer: Any, described: Mapping[str, Any], split: str, size: int) -> dict[str, Any]:
    """``described``: its JSON; ``split``: see :func:`pre_tokenizer`; ``size``: the rows of the embedding."""
    tokens = [f"[PAD{number}]" for number in range(size)]
    kinds = [int(TokenType.UNUSED)] * size
    for token, number in tokenizer.get_vocab().items():
        if number < size:  # one beyond it has no row of the embedding, and is never in a text
            tokens[number], kinds[number] = token, int(TokenType.NORMAL)
    for added in described["added_tokens"]:
        if added["id"] < size:
            kinds[added["id"]] = int(TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in described["model"]["merges"]]
    ends = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}
    template = getattr(tokenizer, "chat_template", None)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": split,
        TOKENS: tokens,
        "tokenizer.ggml.token_type": kinds,
        _MERGES: merges,
        **{f"tokenizer.ggml.{end}_token_id": at for end, at in ends.items() if at is not None and at < size},
        **({"tokenizer.chat_template": template} if isinstance(template, str) else {}),
        "tokenizer.ggml.add_bos_token": added_bos_token(tokenizer) is not None,
    }


def cut_fields(fields: Fields, kept: Sequence[int]) -> Fields:
    """The metadata with the tokens ``kept``, increasing ids, alone; a token's new id is its place there.

    Special tokens that are not kept are no longer named. Raises :class:`evoprune.InputError` for tokens that occur
    twice, which llama.cpp does not load.
    """
    new = {old: number for number, old in enumerate(kept)}
    tokens = [fields[TOKENS].value[old] for old in kept]
    unique = set(tokens)
    if len(unique) < len(tokens):
        twice, _ = Counter(tokens).most_common(1)[0]
        raise InputError(f"the tokenizer of the .gguf file has the token '{twice}' twice", TOKENS)
    cut = {}
    for key, field in fields.items():
        value: Any = field.value
        if key in _OF_TOKENS:
            value = [value[old] for old in kept]
        elif key == _MERGES:
            value = [pair for pair in value if {*pair.split(" ", 1), pair.replace(" ", "", 1)} <= unique]
        elif key.endswith("_token_id"):
            value = new.get(value)
        elif key.endswith(".vocab_size"):
            value = len(kept)
        if value is not None and key != _WHOLE:
            cut[key] = replace(field, value=value)
    return cut
