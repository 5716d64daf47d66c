"""The base of a .gguf file: the metadata and the tokenizer of a model, read from another .gguf file or made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from evoprune import InputError
from evoprune.problems.language_model.gguf.forms import SAME, Form, forms_of_matrix, forms_of_vector, learn
from evoprune.problems.language_model.gguf.metadata import TOKENS, Fields, cut_fields, own_fields
from evoprune.problems.language_model.gguf.names import BLOCK, Slot, find_slots, head_size, within_block
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
        compared = Comparison(base.file, resident, base.architecture)
        compared.refuse_another()
        kinds = getattr(resident.model.config.get_text_config(), "layer_types", None) or ()
        return replace(base, forms=compared.forms(), kept=compared.others, mixed=len(set(kinds)) > 1)
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


@dataclass(frozen=True)
class Comparison:
    """Compares ``file`` with the dense model, which is resident. ``architecture``: llama.cpp's name."""

    file: GgufFile
    resident: Resident
    architecture: str

    @cached_property
    def slots(self) -> Mapping[str, Slot]:
        """The tensors that the model's parameters would be, by name, all in the same form."""
        return {slot.name: slot for slot in find_slots(self.resident.model, self.architecture, {})}

    @property
    def others(self) -> dict[str, Tensor]:
        """The file's tensors that are no parameters."""
        return {
            name: tensor
            for name, tensor in self.file.tensors.items()
            if name not in self.slots and not name.startswith(_OF_THE_MODEL)
        }

    def refuse_another(self) -> None:
        """Raise :class:`evoprune.InputError` unless tokens and shapes are the model's."""
        tokens: Sequence[str] = self.file.fields[TOKENS].value
        vocabulary = self.resident.tokenizer.get_vocab()
        other = sum(number >= len(tokens) or tokens[number] != token for token, number in vocabulary.items())
        if other > _OTHER_TOKENS * len(vocabulary):
            raise self._another(f"{other:,} of the model's {len(vocabulary):,} tokens are others there")
        ours = {name: slot.shape for name, slot in self.slots.items()}
        theirs = {name: tensor.shape for name, tensor in self.file.tensors.items() if name not in self.others}
        if _HEAD not in ours and _HEAD in theirs and self._form(replace(self.slots[_EMBEDDING], name=_HEAD), SAME):
            del theirs[_HEAD]  # the embedding once more
        for name in sorted(ours.keys() | theirs):
            here, there = (" x ".join(map(str, shapes.get(name, ()))) for shapes in (ours, theirs))
            if here != there:
                raise self._another(f"{name} is {there or 'missing'} there, and {here or 'missing'} in the model")

    def forms(self) -> dict[str, Form]:
        """The form of each tensor, by its name :func:`within_block`, from the first block that has it.

        Raises :class:`evoprune.InputError` for one that is not known.
        """
        forms: dict[str, Form] = {}
        for name, slot in self.slots.items():
            within = within_block(name)
            if within in forms:
                continue
            form = self._form(slot, forms.get(f"{within.rpartition('.')[0]}.weight", SAME))
            if form is None:
                raise InputError(
                    f"{name} is in a form that evoprune does not know, other than {slot.parameter} in transformers: "
                    "export the model to a folder, and convert that with llama.cpp",
                    str(self.file.path),
                )
            forms[within] = form
        return forms

    def _form(self, slot: Slot, matrix: Form) -> Form | None:
        """``matrix``: the form of the matrix whose bias ``slot`` may be. Stacked experts have but one."""
        if len(slot.shape) > 2:
            return SAME
        model = self.resident.model
        weight = model.get_parameter(slot.parameter)
        size, heads = head_size(model), model.config.get_text_config().num_attention_heads
        vector = len(slot.shape) == 1
        forms = forms_of_vector(matrix) if vector else forms_of_matrix(slot.shape[0], size, heads)
        return learn(partial(slot.some_rows, weight), self.file.tensors[slot.name], forms)

    def _another(self, reason: str) -> InputError:
        if str(self.file.path) == self.resident.source:
            return InputError(
                f"cannot be written again: transformers reads it otherwise: {reason}", str(self.file.path)
            )
        return InputError(f"is the file of another model: {reason}; give one of the same model", str(self.file.path))
