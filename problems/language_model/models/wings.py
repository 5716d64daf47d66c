"""The wings: folders of capabilities that a checkout may lack. Imports no torch."""

from typing import Any

from evoprune import InputError
from evoprune.plugins import find_plugin, plugin_names

WINGS = {"types": "gguf", ".gguf": "gguf", "vocabulary": "vocabulary", "experts": "experts", "recover": "distillation"}
"""The folder of each wing, by the transforms, suffixes of files and keys of settings that need it."""


def find_in_wings(group: str, name: str) -> Any:
    """As :func:`find_plugin`; raise :class:`evoprune.InputError` that tells the wing of a missing plugin."""
    if name not in plugin_names(group) and name in WINGS:
        raise InputError(f"needs the wing {WINGS[name]}", name)
    return find_plugin(group, name)
