"""Matrices of a quantised .gguf source in its own types: the bytes of the dense and of pruned matrices."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import torch

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.ggml import COMMON, Bytes
from evoprune.problems.language_model.gguf.types.matrices import specs_of
from evoprune.problems.language_model.models.resident import Resident

if TYPE_CHECKING:  # it imports gguf, which not everyone has
    from evoprune.problems.language_model.gguf.base import Base


def source_types(resident: Resident, base: Base) -> dict[str, GgmlMatrix]:
    """Return the matrices of the dense model that are quantised in its source, ``base``, by name."""
    encoded = {}
    for name, specs in specs_of(resident, base).items():
        tensors = [tensor for spec in specs if (tensor := base.tensor(spec.name)) and tensor.kind not in ggml.FLOATS]
        if not tensors:
            continue
        if len({tensor.kind for tensor in tensors}) > 1 or len(tensors) < len(specs):
            raise InputError(f"{' and '.join(spec.name for spec in specs)} are in different types: give its folder")
        if len(tensors) > 1:
            parts = [tensor.data.reshape(tensor.shape[0], -1, tensor.data.shape[1]) for tensor in tensors]
            data = np.concatenate(parts, axis=1).reshape(-1, tensors[0].data.shape[1])
        else:
            order = specs[0].conversion.order
            data = tensors[0].data[np.argsort(order(len(tensors[0].data)))] if order else tensors[0].data
        encoded[name] = GgmlMatrix(tensors[0].kind, data)
    return encoded


def nearest_type(kind: str, widths: Collection[int]) -> str | None:
    """Return ``kind`` if it fits rows of all ``widths``, else the fitting type with the most bits below it.

    If there is none, the fitting type with the fewest bits; None if no type fits.
    """
    if all(ggml.fits(kind, width) for width in widths):
        return kind
    fitting = [other for other in COMMON if all(ggml.fits(other, width) for width in widths)]
    most = ggml.bits(kind)
    below = [other for other in fitting if ggml.bits(other) <= most]
    if below:
        return max(reversed(below), key=ggml.bits)  # of equal ones the last, which is more exact
    return min(fitting, key=ggml.bits, default=None)


def stored_rows(source: GgmlMatrix, dense: torch.Tensor, weight: torch.Tensor) -> Bytes | None:
    """Return the bytes of ``weight`` if all its rows are rows of ``dense``, the loaded weight, stored as ``source``.

    Both ``(out, in)``, on any device. None for other rows, as after a removal of inputs or an update.
    """
    if dense.shape[1] != weight.shape[1]:
        return None
    weight = weight.to(dense)
    if dense.shape == weight.shape:
        return source.data if torch.equal(dense, weight) else None
    places = {row.tobytes(): place for place, row in enumerate(_as_bytes(dense))}
    rows = [places.get(row.tobytes(), -1) for row in _as_bytes(weight)]
    return None if -1 in rows else source.data[rows]


def _as_bytes(rows: torch.Tensor) -> Bytes:
    return rows.detach().contiguous().view(torch.uint8).cpu().numpy()
