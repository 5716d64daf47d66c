"""The base of a .gguf file: the metadata and the tokenizer of a model, read from another .gguf file or made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from evoprune import InputError
from evoprune.problems.language_model.gguf.metadata import TOKENS, Fields, cut_fields, own_fields
from evoprune.problems.language_model.gguf.names import BLOCK, SAME, Form, Slot, find_slots, learn_form, within_block
from evoprune.problems.language_model.gguf.sources import OWN, needs_base
from evoprune.problems.language_model.models.gguf_file import GgufFile, Tensor, read_gguf
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import short_name

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


def find_base(resident: Resident, given: str | None = None) -> Base:
    """The base of the dense model: the .gguf file ``given``, the model's own source, or made of the model itself."""
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
    fields = own_fields(model, tokenizer, name)
    return Base(OWN[model.config.model_type], fields, kept=_rope_factors(model.config)) if fields else None


def _rope_factors(config: Any) -> dict[str, Tensor]:
    """For Llama 3 the numbers that frequencies are divided by; none for other models."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "llama3":
        return {}
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    factors = rope["rope_theta"] ** -(torch.arange(len(scaled)) / len(scaled)) / scaled
    return {"rope_freqs.weight": Tensor("F32", tuple(factors.shape), factors.numpy()[None].view(np.uint8))}


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
            raise InputError(
                f"{name} is in a form that evoprune does not know, other than {slot.parameter} in transformers: "
                "export the model to a folder, and convert that with llama.cpp",
                str(file.path),
            )
        forms[within] = form
    return forms
