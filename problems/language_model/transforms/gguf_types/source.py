"""The matrices of a quantised .gguf source in its own types: their bytes, whole and where cuts left some rows out."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import torch

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import COMMON, Bytes, Encoded
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.transforms.gguf_types.matrices import slots_of

if TYPE_CHECKING:  # it imports gguf, which not everyone has
    from evoprune.problems.language_model.gguf.base import Base


def source_types(resident: Resident, base: Base) -> dict[str, Encoded]:
    """Return the matrices of the dense model that its source, ``base``, holds in a quantised type, by name."""
    encoded = {}
    for name, slots in slots_of(resident, base).items():
        tensors = [tensor for slot in slots if (tensor := base.tensor(slot.name)) and tensor.kind not in ggml.FLOATS]
        if not tensors:
            continue
        if len({tensor.kind for tensor in tensors}) > 1 or len(tensors) < len(slots):
            raise InputError(f"{' and '.join(slot.name for slot in slots)} are in different types: give its folder")
        if len(tensors) > 1:
            parts = [tensor.data.reshape(tensor.shape[0], -1, tensor.data.shape[1]) for tensor in tensors]
            data = np.concatenate(parts, axis=1).reshape(-1, tensors[0].data.shape[1])
        else:
            order = slots[0].form.order
            data = tensors[0].data[np.argsort(order(len(tensors[0].data)))] if order else tensors[0].data
        encoded[name] = Encoded(tensors[0].kind, data)
    return encoded


def nearest_type(kind: str, widths: Collection[int]) -> str | None:
    """Return the type for rows of all ``widths`` with the most bits up to ``kind``'s, else the type with the fewest.

    ``kind`` itself if it fits; None if no type does.
    """
    if all(ggml.fits(kind, width) for width in widths):
        return kind
    fitting = [each for each in COMMON if all(ggml.fits(each, width) for width in widths)]
    most = ggml.bits(kind)
    below = [each for each in fitting if ggml.bits(each) <= most]
    if below:
        return max(reversed(below), key=ggml.bits)  # of equals the last: the more exact
    return min(fitting, key=ggml.bits, default=None)


def rows_taken(own: Encoded, whole: torch.Tensor, weight: torch.Tensor) -> Bytes | None:
    """Return the bytes of ``weight`` if each row is one of ``whole``, the loaded weight, stored as ``own``.

    Both ``(out, in)``; None if a row is another, as where inputs were cut or values changed.
    """
    if whole.shape[1] != weight.shape[1]:
        return None
    weight = weight.to(whole.dtype)
    if whole.shape == weight.shape:
        return own.data if torch.equal(whole, weight) else None
    places = {row.tobytes(): place for place, row in enumerate(_as_bytes(whole))}
    taken = [places.get(row.tobytes(), -1) for row in _as_bytes(weight)]
    return None if -1 in taken else own.data[taken]


def _as_bytes(rows: torch.Tensor) -> Bytes:
    return rows.detach().contiguous().view(torch.uint8).cpu().numpy()
