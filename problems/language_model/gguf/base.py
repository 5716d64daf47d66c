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
from evoprune.problems.language_model.gguf.compare import Comparison
from evoprune.problems.language_model.gguf.forms import Form
from evoprune.problems.language_model.gguf.metadata import TOKENS, Fields, own_fields
from evoprune.problems.language_model.gguf.sources import OWN, needs_base
from evoprune.problems.language_model.gguf.vocabulary import cut_fields
from evoprune.problems.language_model.models.gguf_file import GgufFile, Tensor, read_gguf
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import short_name

ARCHITECTURE = "general.architecture"

_OF_THE_FILE = (ARCHITECTURE, "general.alignment", "quantize.", "split.")
"""Prefixes of keys that are true of the base file alone, or are written anew."""


@dataclass(frozen=True)
class Base:
    """The metadata of a model, but for what follows from its tensors.

    ``architecture``: llama.cpp's name. ``half``: ``F16`` or ``BF16``, the kind of matrices that are not quantised.
    ``file``: the one that it was read from. ``forms``: those of its tensors, as of :func:`find_slots`. ``kept``: its
    tensors that are no parameters, and are copied. ``mixed``: whether the attentions of blocks are of several kinds.
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
    """The base in the .gguf file ``path``, without what is learned by comparing it with the model."""
    file = read_gguf(path)
    if TOKENS not in file.fields or ARCHITECTURE not in file.fields:
        raise InputError("holds no tokenizer: give a .gguf file of a whole model", str(path))
    fields = {
        name: value for name, value in file.fields.items() if not name.startswith(_OF_THE_FILE) and value.value != []
    }
    kinds = {tensor.kind for tensor in file.tensors.values()}
    return Base(file.fields[ARCHITECTURE].value, fields, "BF16" if "BF16" in kinds else "F16", file)


def own_base(model: Any, tokenizer: Any, name: str) -> Base | None:
    """The base of a model called ``name``, made of its config; None where this cannot be made."""
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
