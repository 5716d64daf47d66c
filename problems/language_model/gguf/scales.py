"""The scales and minima that blocks of quantised weights have in 16 bits each.

A block stands for ``scale x code``, or ``scale x code + minimum x code``: so a field's codes are the values that ggml
reads with that field at 1 and the other at 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Encoded, Floats

_PLACES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
    "IQ1_S": (0,), "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,), "IQ3_S": (0,),
    "IQ4_NL": (0,), "IQ4_XS": (0,), "TQ1_0": (52,), "TQ2_0": (64,), "Q1_0": (0,),
}  # fmt: skip
"""Bytes of a block at which a float16 begins: the scale, then the minimum. Other types have no such field."""

_UNITS = (1, 8)  # scales with which all codes are whole numbers: IQ1_S, the finest, counts eighths


def has_scales(kind: str) -> bool:
    """Return True if blocks of ``kind`` have such fields."""
    return kind in _PLACES


def scales_of(encoded: Encoded) -> Floats:
    """The fields of each block, float32 ``(fields, rows, blocks)``; the type must be one that :func:`has_scales`."""
    return np.stack([_field(encoded, place) for place in _PLACES[encoded.kind]]).astype(np.float32)


def with_scales(encoded: Encoded, scales: Floats) -> Encoded:
    """``encoded`` with the fields ``scales``, as of :func:`scales_of`, rounded to float16; its codes stay."""
    changed = Encoded(encoded.kind, encoded.data.copy())
    for place, values in zip(_PLACES[encoded.kind], scales, strict=True):
        _field(changed, place)[:] = values
    return changed


def codes_of(encoded: Encoded, width: int) -> list[tuple[NDArray[np.signedinteger], int]]:
    """For each field its codes ``(rows, width)``, as whole numbers, and the divisor of the codes."""
    scales = scales_of(encoded)
    units = np.eye(len(scales), dtype=np.float32)[:, :, None, None]  # one field at 1, the other at 0
    return [_codes(with_scales(encoded, np.broadcast_to(unit, scales.shape)), width) for unit in units]


def _codes(of_one: Encoded, width: int) -> tuple[NDArray[np.signedinteger], int]:
    values = ggml.dequantize(of_one.data, of_one.kind, width)
    for unit in _UNITS:
        codes = (unit * values).astype(np.int16)
        if np.array_equal(codes, unit * values):
            small = np.abs(codes).max(initial=0) < 2**7
            return codes.astype(np.int8 if small else np.int16), unit
    raise ValueError(f"codes of {of_one.kind} are no whole numbers")


def _field(encoded: Encoded, place: int) -> NDArray[np.float16]:
    """The field at ``place`` of each block, a view ``(rows, blocks)`` of the bytes."""
    size = ggml.row_bytes(encoded.kind, ggml.block_size(encoded.kind))
    blocks = encoded.data.reshape(len(encoded.data), -1, size)
    return blocks[:, :, place : place + 2].view(np.float16)[:, :, 0]
