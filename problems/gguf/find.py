"""Finds the base of a model: a file that the user gives, the model's own source, or what the model itself tells."""

from __future__ import annotations

from pathlib import Path

from evoprune import InputError
from problems.gguf.base import Base, read_base
from problems.gguf.names import find_slots
from problems.gguf.own import own_base
from problems.gguf.values import refuse_another_form
from problems.models.resident import Resident


def find_base(resident: Resident, given: str | None = None) -> Base:
    """The base of the model, which must be dense now. ``given``: a .gguf file of it.

    Raises :class:`evoprune.InputError` where there is none, it is that of another model, or llama.cpp keeps the model's
    weights in a form that is not known here.
    """
    if given or resident.source.endswith(".gguf"):
        path = Path(given or resident.source)
        base = read_base(path)
        slots = find_slots(resident.model, base.architecture)
        base.refuse_another({slot.name: slot.shape for slot in slots}, resident.tokenizer.get_vocab())
        refuse_another_form(resident.model, slots, path)
        return base
    if own := own_base(resident.model, resident.tokenizer, Path(resident.source).name.removeprefix("bundled:")):
        return own
    raise InputError(
        "a .gguf file takes its tokenizer and metadata from another .gguf file of the same model: give it with --base, "
        "or in place of the model (llama.cpp's convert_hf_to_gguf.py makes one of a folder)",
        resident.source,
    )
