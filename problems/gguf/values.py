"""Compares a .gguf file's weights with those that a model would be written with.

Files of some architectures hold weights in another form: norms plus 1, or rows in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from numpy.typing import NDArray

from evoprune import InputError
from problems.gguf import ggml
from problems.gguf.names import Slot

_APART = 0.1
"""Vectors are in another form if they are so far apart, relative to their length."""

_ALIKE = 0.5
"""Matrices are in the same form if the cosine between them is larger; that of types of 2 bits is above 0.9."""


def refuse_another_form(model: Any, slots: Sequence[Slot], path: Path) -> None:
    """Raise :class:`evoprune.InputError` unless block 0 in ``path``, a file of ``model``, is as it would be written."""
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
