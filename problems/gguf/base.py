"""The base of a .gguf file: the metadata and the tokenizer of a model, read from another .gguf file or made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFValue, GGUFValueType, TokenType
from numpy.typing import NDArray

from evoprune import InputError
from problems.gguf import ggml
from problems.gguf.names import Slot, find_slots
from problems.models.load import added_bos_token
from problems.models.resident import Resident

Fields = Mapping[str, Any]  # metadata by key: each value a GGUFValue with its type

GPT2 = "gpt2"
TOKENS = "tokenizer.ggml.tokens"

_OF_THE_FILE = ("GGUF.", "general.architecture", "general.alignment", "quantize.", "split.")
"""Prefixes of keys that are true of the base file alone, or are written anew."""

_KEPT = "rope_"  # prefix of the tensors that are no parameters in transformers: factors of rotary frequencies
_OTHER_TOKENS = 0.01  # the share of a vocabulary that may be spelt differently: converters rewrite some added tokens
_APART = 0.1  # the largest relative distance of vectors in the same form
_ALIKE = 0.5  # the least cosine of matrices in the same form; that of types of 2 bits is above 0.9

_SPLIT = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
"""The pattern by which GPT-2 splits text before pairs of bytes are merged."""


@dataclass(frozen=True)
class Base:
    """The metadata of a model, but for what follows from its tensors.

    ``architecture``: llama.cpp's name. ``half``: ``F16`` or ``BF16``, the kind of matrices that are not quantised.
    ``shapes``: of the file's tensors, rows first; empty where there is no file. ``kept``: tensors that are copied.
    ``path``: the file.
    """

    architecture: str
    fields: Fields
    half: str = "F16"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kept: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    path: Path | None = None

    def refuse_another(self, shapes: Mapping[str, tuple[int, ...]], vocabulary: Mapping[str, int]) -> None:
        """Raise :class:`evoprune.InputError` unless the file is one of the model with these tensors and tokens."""
        if self.path is None:
            return
        tokens: Sequence[str] = self.fields[TOKENS].value
        other = sum(number >= len(tokens) or tokens[number] != token for token, number in vocabulary.items())
        if other > _OTHER_TOKENS * len(vocabulary):
            raise self._another(f"{other:,} of the model's {len(vocabulary):,} tokens are others there")
        for name in sorted(shapes.keys() | (self.shapes.keys() - self.kept.keys())):
            ours, theirs = (" x ".join(map(str, known.get(name, ()))) for known in (shapes, self.shapes))
            if ours != theirs:
                raise self._another(f"{name} is {theirs or 'missing'} there, and {ours or 'missing'} in the model")

    def _another(self, reason: str) -> InputError:
        return InputError(f"is the file of another model: {reason}; give one of the same model", str(self.path))


def find_base(resident: Resident, given: str | None = None) -> Base:
    """The base of the dense model: the .gguf file ``given``, the model's own source, or made of the model itself."""
    if given or resident.source.endswith(".gguf"):
        path = Path(given or resident.source)
        base = read_base(path)
        slots = find_slots(resident.model, base.architecture)
        base.refuse_another({slot.name: slot.shape for slot in slots}, resident.tokenizer.get_vocab())
        _refuse_another_form(resident.model, slots, path)
        return base
    if own := own_base(resident.model, resident.tokenizer, Path(resident.source).name.removeprefix("bundled:")):
        return own
    raise InputError(
        "a .gguf file takes its tokenizer and metadata from another .gguf file of the same model: give it with --base, "
        "or in place of the model (llama.cpp's convert_hf_to_gguf.py makes one of a folder)",
        resident.source,
    )


def read_base(path: Path) -> Base:
    """The base in the .gguf file ``path``."""
    try:
        reader = GGUFReader(path)
        known = {name: _value(found) for name, found in reader.fields.items()}
        architecture = known["general.architecture"].value
        shapes = {tensor.name: tuple(map(int, reversed(tensor.shape))) for tensor in reader.tensors}
        kept = {t.name: t.data.copy() for t in reader.tensors if t.name.startswith(_KEPT)}
        kinds = {tensor.tensor_type.name for tensor in reader.tensors}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", str(path)) from None
    except Exception:  # the reader trusts what it reads, and fails in many ways
        raise InputError("is no .gguf file, or a truncated one: give a whole one", str(path)) from None
    if TOKENS not in known:
        raise InputError("holds no tokenizer: give a .gguf file of a whole model", str(path))
    fields = {name: value for name, value in known.items() if not name.startswith(_OF_THE_FILE) and value.value != []}
    return Base(architecture, fields, "BF16" if "BF16" in kinds else "F16", shapes, kept, path)


def own_base(model: Any, tokenizer: Any, name: str) -> Base | None:
    """The base of a GPT-2 called ``name``, made of its config; None for another model, or another kind of tokenizer."""
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


def whole_number(value: int) -> Any:
    """A whole number, at least 0, as metadata."""
    return GGUFValue(int(value), GGUFValueType.UINT32)


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


def _refuse_another_form(model: Any, slots: Sequence[Slot], path: Path) -> None:
    """Raise :class:`evoprune.InputError` unless block 0 in ``path``, a file of ``model``, is as it would be written.

    Files of some architectures hold weights in another form: norms plus 1, or rows in another order.
    """
    weights = dict(model.named_parameters())
    first = {slot.name: slot for slot in slots if slot.name.startswith("blk.0.")}
    for tensor in GGUFReader(path).tensors:
        slot = first.get(tensor.name)
        if slot is None or slot.parameter is None:
            continue
        rows = np.atleast_2d(tensor.data)
        theirs = ggml.dequantize(rows.view(np.uint8), tensor.tensor_type.name, slot.shape[-1]).reshape(slot.shape)
        if not _same_form(slot.rows(weights[slot.parameter]), theirs):
            raise InputError(
                f"llama.cpp keeps {tensor.name} of this architecture in another form than transformers, which "
                "evoprune does not know yet: export the model to a folder, and convert that with llama.cpp",
                str(path),
            )


def _same_form(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool:
    if ours.ndim == 1:
        return bool(np.linalg.norm(ours - theirs) <= _APART * np.linalg.norm(theirs))
    return bool((ours * theirs).sum() >= _ALIKE * np.linalg.norm(ours) * np.linalg.norm(theirs))


def _value(found: Any) -> Any:
    array = found.types[0] == GGUFValueType.ARRAY
    return GGUFValue(found.contents(), found.types[0], found.types[-1] if array else None)


def _text(value: str) -> Any:
    return GGUFValue(value, GGUFValueType.STRING)
