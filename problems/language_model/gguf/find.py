"""Finds the base of a model: a file that the user gives, the model's own source, or what the model itself tells."""

from __future__ import annotations

from pathlib import Path

from evoprune import InputError
from problems.language_model.gguf.base import Base, read_base
from problems.language_model.gguf.names import find_slots
from problems.language_model.gguf.own import own_base
from problems.language_model.resident import Resident


def find_base(resident: Resident, given: str | None = None) -> Base:
    """The base of the model, which must be dense now. ``given``: a .gguf file of it.

    Raises :class:`evoprune.InputError` where there is none, or it is that of another model.
    """
    if given or resident.source.endswith(".gguf"):
        base = read_base(Path(given or resident.source))
        shapes = {slot.name: slot.shape for slot in find_slots(resident.model, base.architecture)}
        base.refuse_another(shapes, resident.tokenizer.get_vocab())
        return base
    if own := own_base(resident.model, resident.tokenizer, Path(resident.source).name.removeprefix("bundled:")):
        return own
    raise InputError(
        "a .gguf file takes its tokenizer and metadata from another .gguf file of the same model: give it with --base, "
        "or in place of the model (llama.cpp's convert_hf_to_gguf.py makes one of a folder)",
        resident.source,
    )
