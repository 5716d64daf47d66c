"""The types that the presets of llama.cpp's quantiser give the matrices of a model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprune import InputError
from problems.gguf.base import Base
from problems.gguf.runtime import reason
from problems.gguf.write import contents
from problems.models.fresh_process import Failed, run_python

Presets = dict[str, dict[str, str]]
"""By the name of a preset, such as ``Q4_K_M``, the type of each parameter that it quantises."""


def presets(model: Any, base: Base, importance: bool) -> Presets:
    """What llama.cpp says in a dry run, in a process of its own.

    ``model``: a dense one. ``importance``: whether there is an importance matrix, as some presets then choose other
    types. Raises :class:`evoprune.InputError` where llama.cpp cannot quantise it.
    """
    whole = contents(model, base, {})
    parameters = {slot.name: slot.parameter for slot in whole.layout.slots}
    with tempfile.TemporaryDirectory() as scratch:
        outline = Path(scratch) / "outline.gguf"
        whole.write_outline(outline)
        found = _dry_run(outline, importance)
    return {name: _by_parameter(kinds, parameters) for name, kinds in found.items()}


def _dry_run(file: Path, importance: bool) -> Presets:
    script = Path(__file__).with_name("dry_run.py")
    try:
        return run_python("-P", str(script), str(file), json.dumps(importance))
    except Failed as failed:
        raise InputError(f"llama.cpp does not say what its presets are: {reason(failed.log)}") from None


def _by_parameter(kinds: Mapping[str, str], parameters: Mapping[str, str | None]) -> dict[str, str]:
    """``kinds`` of tensors, without those that are no parameter of the model."""
    return {own: kind for tensor, kind in kinds.items() if (own := parameters.get(tensor)) is not None}
