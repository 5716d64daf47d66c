"""Matrices in ggml's types: their values, the scales of their blocks, and compensated rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from evoprune.problems.language_model.calibration.update import gptq
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Bytes, Floats
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms.form import Encoded

SLICE = 2**18
"""Weights that a thread converts at once, with some float32 copies."""

SCALE_OFFSETS = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
    "IQ1_S": (0,), "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,), "IQ3_S": (0,),
    "IQ4_NL": (0,), "IQ4_XS": (0,), "TQ1_0": (52,), "TQ2_0": (64,), "Q1_0": (0,), "Q2_0": (0,),
}  # fmt: skip
"""Offsets, in the bytes of a block, of its float16 fields: the scale, then the minimum. Other types have none.

The values of a block are ``scale x code``, or ``scale x code + minimum x code``: the codes of a field are the values
that ggml dequantises with 1 in this field and 0 in the other one.
"""

_UNITS = (1, 8)  # factors by which all codes become whole numbers: IQ1_S, the finest, has eighths


@dataclass(frozen=True, eq=False)
class GgmlMatrix(Encoded):
    """A matrix in the ggml type ``kind``, as a .gguf file stores it."""

    def values(self, matrix: Matrix, weight: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Return the values of all or some ``rows``, in the layout, dtype and device of ``weight`` of ``matrix``."""
        width = matrix.rows(weight).shape[1]
        data = self.data if rows is None else self.data[rows.cpu().numpy()]
        values = torch.empty(len(data), width, dtype=weight.dtype)
        step = max(1, SLICE // width)
        for first in range(0, len(data), step):  # a stack of experts in float32 may not fit into memory
            part = ggml.dequantize(data[first : first + step], self.kind, width)
            values[first : first + step] = torch.from_numpy(part)
        return matrix.laid_out(values).to(weight.device).contiguous()

    def put_into(self, matrix: Matrix) -> None:
        matrix.weight.data.copy_(self.values(matrix, matrix.weight))

    def compensated(self, rows: torch.Tensor, gram: torch.Tensor) -> Self:
        size = ggml.block_size(self.kind)

        def quantise(columns: Floats, importance: Floats) -> tuple[Bytes, Floats]:
            data = ggml.quantize(columns, self.kind, importance)
            return data, ggml.dequantize(data, self.kind, size)

        return self.with_data(gptq(rows, gram, size, quantise))

    @property
    def has_scales(self) -> bool:
        return self.kind in SCALE_OFFSETS

    @property
    def scales(self) -> Floats:
        return np.stack([self._field(place) for place in SCALE_OFFSETS[self.kind]]).astype(np.float32)

    def with_scales(self, scales: Floats) -> Self:
        changed = self.with_data(self.data.copy())
        for place, values in zip(SCALE_OFFSETS[self.kind], scales, strict=True):
            changed._field(place)[:] = values
        return changed

    def codes(self, width: int) -> list[tuple[NDArray[np.signedinteger], int]]:
        scales, fields = self.scales, []
        for field in np.eye(len(scales), dtype=np.float32)[:, :, None, None]:  # one field at 1, the other at 0
            values = ggml.dequantize(self.with_scales(np.broadcast_to(field, scales.shape)).data, self.kind, width)
            unit = next(unit for unit in _UNITS if np.array_equal((unit * values).astype(np.int16), unit * values))
            codes = (unit * values).astype(np.int16)
            fields.append((codes.astype(np.int8) if np.abs(codes).max(initial=0) < 2**7 else codes, unit))
        return fields

    def _field(self, place: int) -> NDArray[np.float16]:
        """Return the field at the offset ``place`` of each block, a view ``(rows, blocks)`` of the bytes."""
        size = ggml.row_bytes(self.kind, ggml.block_size(self.kind))
        blocks = self.data.reshape(len(self.data), -1, size)
        return blocks[:, :, place : place + 2].view(np.float16)[:, :, 0]
