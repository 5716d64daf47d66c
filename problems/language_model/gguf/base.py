"""The base of a .gguf file: the metadata and the tokenizer of a model, read from another .gguf file or made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from gguf import GGUFValue, GGUFValueType, TokenType
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from evoprune import InputError
from evoprune.problems.language_model.gguf.names import BLOCK, SAME, Form, Slot, find_slots, learn_form, within_block
from evoprune.problems.language_model.gguf.sources import OWN, needs_base, pre_tokenizer
from evoprune.problems.language_model.models.load import added_bos_token
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import short_name
from evoprune.problems.language_model.models.weight_files import GgufFile, Tensor, read_gguf

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

ARCHITECTURE = "general.architecture"

_OF_THE_FILE = (ARCHITECTURE, "general.alignment", "quantize.", "split.")
"""Prefixes of keys that are true of the base file alone, or are written anew."""

_OF_THE_MODEL = (BLOCK, "token_embd", "output")
"""Prefixes of tensors that are parameters; others, such as factors of rotary frequencies, may be none."""

_HEAD, _EMBEDDING = "output.weight", "token_embd.weight"
_OTHER_TOKENS = 0.01  # the share of a vocabulary that may be spelt differently: converters rewrite some added tokens


@dataclass(frozen=True)
class Base:
    """The metadata of a model, without entries that follow from its tensors.

    ``architecture``: llama.cpp's name. ``half``: ``F16`` or ``BF16``, the kind of matrices that are not quantised.
    ``file``: the source, if there is one. ``forms``: of tensors, as for :func:`find_slots`. ``kept``: tensors that are
    no parameters, and are copied. ``mixed``: whether the attentions of blocks are of several kinds.
    """

    architecture: str
    fields: Fields
    half: str = "F16"
    file: GgufFile | None = None
    forms: Mapping[str, Form] | None = None
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    mixed: bool = False

    def tensor(self, name: str) -> Tensor | None:
        """The tensor ``name`` of the file."""
        return self.file.tensors.get(name) if self.file else None

    def with_tokens(self, kept: Sequence[int] | None) -> Base:
        """The base of the model that has the tokens ``kept`` alone, in order; None for all."""
        return self if kept is None else replace(self, fields=cut_fields(self.fields, kept))


_bases: WeakKeyDictionary[Resident, dict[str | None, Base]] = WeakKeyDictionary()


def find_base(resident: Resident, given: str | None = None, make_dense: Callable[[], None] = lambda: None) -> Base:
    """The base of the dense model: the .gguf file ``given``, the model's own source, or made of the model itself.

    It is read once for a model, which ``make_dense`` makes dense before.
    """
    known = _bases.setdefault(resident, {})
    if given not in known:
        make_dense()
        known[given] = _read_for(resident, given)
    return known[given]


def _read_for(resident: Resident, given: str | None) -> Base:
    if given or resident.source.endswith(".gguf"):
        base = read_base(Path(given or resident.source))
        assert base.file is not None
        slots = {slot.name: slot for slot in find_slots(resident.model, base.architecture, {})}
        others = {name: tensor for name, tensor in base.file.tensors.items() if name not in slots}
        kept = {name: tensor for name, tensor in others.items() if not name.startswith(_OF_THE_MODEL)}
        _refuse_another(base.file, kept, resident, slots)
        kinds = getattr(resident.model.config.get_text_config(), "layer_types", None) or ()
        forms = _forms(base.file, resident.model, slots)
        return replace(base, forms=forms, kept=kept, mixed=len(set(kinds)) > 1)
    if own := own_base(resident.model, resident.tokenizer, short_name(resident.source)):
        return own
    raise needs_base(resident.source, "not for this model")


def read_base(path: Path) -> Base:
    """The base in the .gguf file ``path``, before it is compared with the model."""
    file = read_gguf(path)
    if TOKENS not in file.fields or ARCHITECTURE not in file.fields:
        raise InputError("holds no tokenizer: give a .gguf file of a whole model", str(path))
    fields = {
        name: value for name, value in file.fields.items() if not name.startswith(_OF_THE_FILE) and value.value != []
    }
    kinds = {tensor.kind for tensor in file.tensors.values()}
    return Base(file.fields[ARCHITECTURE].value, fields, "BF16" if "BF16" in kinds else "F16", file)


def own_base(model: Any, tokenizer: Any, name: str) -> Base | None:
    """The base of a model called ``name``, made of the config; None for other types of models."""
    if (fields := own_fields(model, tokenizer, name)) is None:
        return None
    kept, rope = {}, getattr(model.config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "llama3":  # whose frequencies are divided by numbers in a tensor
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](model.config, torch.device("cpu"))
        factors = rope["rope_theta"] ** -(torch.arange(len(scaled)) / len(scaled)) / scaled
        kept["rope_freqs.weight"] = Tensor("F32", tuple(factors.shape), factors.numpy()[None].view(np.uint8))
    return Base(OWN[model.config.model_type], fields, kept=kept)


def _refuse_another(file: GgufFile, kept: Mapping[str, Tensor], resident: Resident, slots: Mapping[str, Slot]) -> None:
    """Raise :class:`evoprune.InputError` for the ``file`` of a model with other tokens or shapes.

    ``kept``: its tensors that are no parameters. ``slots``: the model's tensors by name, all in the same form.
    """

    def refuse(reason: str) -> InputError:
        if str(file.path) == resident.source:
            return InputError(f"cannot be written again: transformers reads it otherwise: {reason}", str(file.path))
        return InputError(f"is the file of another model: {reason}; give one of the same model", str(file.path))

    tokens: Sequence[str] = file.fields[TOKENS].value
    vocabulary = resident.tokenizer.get_vocab()
    other = sum(number >= len(tokens) or tokens[number] != token for token, number in vocabulary.items())
    if other > _OTHER_TOKENS * len(vocabulary):
        raise refuse(f"{other:,} of the model's {len(vocabulary):,} tokens are others there")
    ours = {name: slot.shape for name, slot in slots.items()}
    theirs = {name: tensor.shape for name, tensor in file.tensors.items() if name not in kept}
    if _HEAD in theirs.keys() - ours and learn_form(slots[_EMBEDDING], resident.model, file.tensors[_HEAD], SAME):
        del theirs[_HEAD]  # the embedding once more
    for name in sorted(ours.keys() | theirs):
        here, there = (" x ".join(map(str, shapes.get(name, ()))) for shapes in (ours, theirs))
        if here != there:
            raise refuse(f"{name} is {there or 'missing'} there, and {here or 'missing'} in the model")


def _forms(file: GgufFile, model: Any, slots: Mapping[str, Slot]) -> dict[str, Form]:
    """The form of each tensor, by its name :func:`within_block`, from the first block that has it.

    Raises :class:`evoprune.InputError` for an unknown form.
    """
    forms: dict[str, Form] = {}
    for name, slot in slots.items():
        if (within := within_block(name)) in forms:
            continue
        matrix = forms.get(f"{within.rpartition('.')[0]}.weight", SAME)
        if (form := learn_form(slot, model, file.tensors[name], matrix)) is None:
            why = f"{name} is in a form that evoprune does not know, other than {slot.parameter} in transformers"
            raise InputError(f"{why}: export to a folder, and convert that with llama.cpp", str(file.path))
        forms[within] = form
    return forms


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
    for key, entry in fields.items():
        value: Any = entry.value
        if key in _OF_TOKENS:
            value = [value[old] for old in kept]
        elif key == _MERGES:
            value = [pair for pair in value if {*pair.split(" ", 1), pair.replace(" ", "", 1)} <= unique]
        elif key.endswith("_token_id"):
            value = new.get(value)
        elif key.endswith(".vocab_size"):
            value = len(kept)
        if value is not None and key != _WHOLE:
            cut[key] = replace(entry, value=value)
    return cut
