"""The base of a .gguf file: a model's metadata and tokenizer, read from another .gguf file or made from the model."""

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
from evoprune.problems.language_model.gguf.names import (
    BLOCK,
    UNCHANGED,
    Conversion,
    TensorSpec,
    find_specs,
    learn_conversion,
    within_block,
)
from evoprune.problems.language_model.gguf.reader import GgufFile, Tensor, read_gguf
from evoprune.problems.language_model.gguf.sources import ARCHITECTURES, needs_base, pre_tokenizer
from evoprune.problems.language_model.models.load import added_bos_token
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import short_name

Fields = Mapping[str, Any]  # metadata by key: each value a GGUFValue with its type

TOKENS = "tokenizer.ggml.tokens"
_OF_TOKENS = (TOKENS, "tokenizer.ggml.scores", "tokenizer.ggml.token_type")  # arrays with an entry per token
_MERGES = "tokenizer.ggml.merges"
_HUGGINGFACE = "tokenizer.huggingface.json"  # a copy of the tokenizer, which llama.cpp does not read

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
"""Prefixes of keys that hold for the base file alone, or are written anew."""

_OF_THE_MODEL = (BLOCK, "token_embd", "output")
"""Prefixes of tensors that are parameters; other tensors, such as factors of rotary frequencies, may be constants."""

HEAD, EMBEDDING = "output.weight", "token_embd.weight"
_OTHER_TOKENS = 0.01  # share of a vocabulary that may be spelt differently: converters rewrite some added tokens


@dataclass(frozen=True)
class Base:
    """The metadata of a model, without entries that follow from its tensors.

    ``architecture``: llama.cpp's name. ``half``: ``F16`` or ``BF16``, the type of matrices that are not quantised.
    ``file``: the source, if there is one. ``conversions``: of tensors, for :func:`find_specs`. ``extra_tensors``:
    constants, which are copied. ``mixed_attention``: True if the attentions of blocks are of several kinds.
    """

    architecture: str
    fields: Fields
    half: str = "F16"
    file: GgufFile | None = None
    conversions: Mapping[str, Conversion] | None = None
    extra_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    mixed_attention: bool = False

    def tensor(self, name: str) -> Tensor | None:
        """Return the tensor ``name`` of the file, if any."""
        return self.file.tensors.get(name) if self.file else None

    def with_tokens(self, kept: Sequence[int] | None) -> Base:
        """Return the base of the model that has only the tokens ``kept``, in order; None: all tokens."""
        return self if kept is None else replace(self, fields=cut_fields(self.fields, kept))


_bases: WeakKeyDictionary[Resident, dict[str | None, Base]] = WeakKeyDictionary()


def find_base(resident: Resident, path: str | None = None, make_dense: Callable[[], None] = lambda: None) -> Base:
    """Return the base of the dense model: the .gguf file ``path``, the model's own source, or made from the model.

    It is found once per model and file; ``make_dense`` is called before. Raises :class:`evoprune.InputError`.
    """
    bases = _bases.setdefault(resident, {})
    if path not in bases:
        make_dense()
        bases[path] = _base_for(resident, path)
    return bases[path]


def _base_for(resident: Resident, path: str | None) -> Base:
    if path or resident.source.endswith(".gguf"):
        base = read_base(Path(path or resident.source))
        assert base.file is not None
        specs = {spec.name: spec for spec in find_specs(resident.model, base.architecture, {})}
        others = {name: tensor for name, tensor in base.file.tensors.items() if name not in specs}
        constants = {name: tensor for name, tensor in others.items() if not name.startswith(_OF_THE_MODEL)}
        _refuse_another(base.file, constants, resident, specs)
        kinds = getattr(resident.model.config.get_text_config(), "layer_types", None) or ()
        conversions = _conversions(base.file, resident.model, specs)
        return replace(base, conversions=conversions, extra_tensors=constants, mixed_attention=len(set(kinds)) > 1)
    if made := make_base(resident.model, resident.tokenizer, short_name(resident.source)):
        return made
    raise needs_base(resident.source, "not for this model")


def read_base(path: Path) -> Base:
    """Read the base in the .gguf file ``path``, without comparing it with a model."""
    file = read_gguf(path)
    if TOKENS not in file.fields or ARCHITECTURE not in file.fields:
        raise InputError("holds no tokenizer: give a .gguf file of a whole model", str(path))
    fields = {
        name: value for name, value in file.fields.items() if not name.startswith(_OF_THE_FILE) and value.value != []
    }
    kinds = {tensor.kind for tensor in file.tensors.values()}
    return Base(file.fields[ARCHITECTURE].value, fields, "BF16" if "BF16" in kinds else "F16", file)


def make_base(model: Any, tokenizer: Any, name: str) -> Base | None:
    """Make the base of ``model``, called ``name``, from its config; None as of :func:`make_fields`."""
    if (fields := make_fields(model, tokenizer, name)) is None:
        return None
    constants, rope = {}, getattr(model.config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "llama3":  # whose frequencies are divided by numbers in a tensor
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](model.config, torch.device("cpu"))
        factors = rope["rope_theta"] ** -(torch.arange(len(scaled)) / len(scaled)) / scaled
        data = factors.numpy()[None].view(np.uint8)
        constants["rope_freqs.weight"] = Tensor("F32", tuple(factors.shape), data.nbytes, data)
    return Base(ARCHITECTURES[model.config.model_type], fields, extra_tensors=constants)


def _refuse_another(
    file: GgufFile, constants: Mapping[str, Tensor], resident: Resident, specs: Mapping[str, TensorSpec]
) -> None:
    """Raise :class:`evoprune.InputError` for the ``file`` of a model with other tokens or shapes.

    ``constants``: its tensors that are no parameters. ``specs``: the model's tensors by name.
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
    ours = {name: spec.shape for name, spec in specs.items()}
    theirs = {name: tensor.shape for name, tensor in file.tensors.items() if name not in constants}
    if HEAD in theirs.keys() - ours and learn_conversion(
        specs[EMBEDDING], resident.model, file.tensors[HEAD], UNCHANGED
    ):
        del theirs[HEAD]  # a copy of the embedding
    for name in sorted(ours.keys() | theirs):
        here, there = (" x ".join(map(str, shapes.get(name, ()))) for shapes in (ours, theirs))
        if here != there:
            raise refuse(f"{name} is {there or 'missing'} there, and {here or 'missing'} in the model")


def _conversions(file: GgufFile, model: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Conversion]:
    """Return the conversion of each tensor, by its name :func:`within_block`, learned from the first block that has it.

    Raises :class:`evoprune.InputError` for an unknown conversion.
    """
    conversions: dict[str, Conversion] = {}
    for name, spec in specs.items():
        if (within := within_block(name)) in conversions:
            continue
        matrix = conversions.get(f"{within.rpartition('.')[0]}.weight", UNCHANGED)
        if (conversion := learn_conversion(spec, model, file.tensors[name], matrix)) is None:
            why = f"{name} is in a form that evoprune does not know, other than {spec.parameter} in transformers"
            raise InputError(f"{why}: export to a folder, and convert that with llama.cpp", str(file.path))
        conversions[within] = conversion
    return conversions


def as_field(value: Any) -> Any:
    """Return ``value`` as metadata: a str, a bool, an int >= 0, a float, or a list of str or int."""
    if not isinstance(value, list):
        return GGUFValue(value, _KINDS[type(value)])
    kind = GGUFValueType.STRING if isinstance(next(iter(value), ""), str) else GGUFValueType.INT32
    return GGUFValue(value, GGUFValueType.ARRAY, kind)


def make_fields(model: Any, tokenizer: Any, name: str) -> Fields | None:
    """Make the metadata of ``model``, called ``name``; None for an unknown type of model or of tokenizer."""
    config = model.config
    backend = getattr(tokenizer, "backend_tokenizer", None)  # tokenizers in Python have none
    architecture = ARCHITECTURES.get(config.model_type)
    if architecture is None or backend is None:
        return None
    tokenizer_json = json.loads(backend.to_str())
    if (split := pre_tokenizer(tokenizer_json)) is None:
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
    fields = {"general.name": name} | fields | _tokenizer(tokenizer, tokenizer_json, split, config.vocab_size)
    return {key: as_field(value) for key, value in fields.items()}


def _rotary(config: Any) -> dict[str, Any]:
    """Return the metadata of rotary positions. Raises :class:`evoprune.InputError` for an unknown scaling."""
    if (rope := getattr(config, "rope_parameters", None)) is None:
        return {}
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rotary = int(size * rope.get("partial_rotary_factor", 1.0))
    fields = {"rope.freq_base": float(rope["rope_theta"]), "rope.dimension_count": rotary}
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        fields |= {"rope.scaling.type": kind, "rope.scaling.factor": float(rope["factor"])}
    elif kind not in {"default", "llama3"}:
        raise InputError(f"its positions are scaled by '{kind}': give a .gguf file of the model with --base", "--base")
    return fields


def _tokenizer(tokenizer: Any, tokenizer_json: Mapping[str, Any], split: str, size: int) -> dict[str, Any]:
    """Return the metadata of ``tokenizer``; ``split``: of :func:`pre_tokenizer`; ``size``: rows of the embedding."""
    tokens = [f"[PAD{number}]" for number in range(size)]
    kinds = [int(TokenType.UNUSED)] * size
    for token, number in tokenizer.get_vocab().items():
        if number < size:  # one beyond it has no row of the embedding, and is never in a text
            tokens[number], kinds[number] = token, int(TokenType.NORMAL)
    for added in tokenizer_json["added_tokens"]:
        if added["id"] < size:
            kinds[added["id"]] = int(TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer_json["model"]["merges"]]
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
    """Return the metadata with only the tokens ``kept``, increasing ids; the new ids are indices of ``kept``.

    The ids of removed special tokens are left out. Raises :class:`evoprune.InputError` for duplicate tokens, which
    llama.cpp does not load.
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
        if value is not None and key != _HUGGINGFACE:
            cut[key] = replace(entry, value=value)
    return cut
