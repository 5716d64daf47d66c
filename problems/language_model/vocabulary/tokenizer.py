"""Reduces a tokenizer, and the ids of special tokens in a config, to the remaining tokens."""

from __future__ import annotations

import copy
import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from evoprune.problems.language_model.texts.tokens import tokenizer_json

_TOKEN_LISTS = ("_token_id", "_token_ids", "suppress_tokens")  # endings of keys


def cut_merges(merges: Sequence[Sequence[str]], vocabulary: Container[str]) -> list[list[str]]:
    """Return the merges whose two tokens and result are in ``vocabulary``, in their order."""
    return [list(pair) for pair in merges if all(token in vocabulary for token in (*pair, "".join(pair)))]


def cut_tokenizer(tokenizer: Any, kept: Sequence[int]) -> Any:
    """Return the tokenizer with the tokens ``kept``, rising ids; a token's new id is its index in ``kept``.

    Raises :class:`evoprune.InputError` as :func:`tokenizer_json`.
    """
    described = tokenizer_json(tokenizer)
    new = {old: number for number, old in enumerate(kept)}
    model = described["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [piece for old, piece in enumerate(model["vocab"]) if old in new]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        model["vocab"] = {token: new[old] for token, old in model["vocab"].items() if old in new}
    if "merges" in model:
        model["merges"] = cut_merges(model["merges"], model["vocab"])
    added = described["added_tokens"]
    described["added_tokens"] = [each | {"id": new[each["id"]]} for each in added if each["id"] in new]
    if described["padding"]:
        described["padding"]["pad_id"] = new[described["padding"]["pad_id"]]
    _cut_processor(described["post_processor"] or {}, new)
    backend = Tokenizer.from_str(json.dumps(described))
    return copy.deepcopy(tokenizer, {id(tokenizer.backend_tokenizer): backend})


def _cut_processor(processor: dict[str, Any], new: Mapping[int, int]) -> None:
    """Put ``new`` ids into the JSON of a post-processor, which adds special tokens."""
    for each in processor.get("processors", ()):
        _cut_processor(each, new)
    if processor.get("type") == "TemplateProcessing":
        for special in processor["special_tokens"].values():
            special["ids"] = [new[old] for old in special["ids"]]
    for end in {"sep", "cls"} & processor.keys():
        token, old = processor[end]
        processor[end] = [token, new[old]]


def cut_ids(config: Any, kept: Sequence[int]) -> None:
    """Renumber token ids in a ``config`` of a model or of generation, and drop tokens that are not ``kept``.

    The size of the vocabulary is not changed.
    """
    new = {old: number for number, old in enumerate(kept)}
    for key, value in list(vars(config).items()):
        if isinstance(value, int) and key.endswith(("_token_id", "_token_index")):
            setattr(config, key, new.get(value))
        elif hasattr(value, "get_text_config"):
            cut_ids(value, kept)  # a part, such as the config for text
        elif value and key.endswith(_TOKEN_LISTS):
            setattr(config, key, [new[old] for old in value if old in new] or None)
        elif value and key == "bad_words_ids":
            words = [[new.get(old) for old in word] for word in value]
            setattr(config, key, [word for word in words if None not in word] or None)
