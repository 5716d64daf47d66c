"""The remains of cuts, which the transform ``types`` stores in types; and matrices with the values of types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.models.blocks import Matrix


class Remaining(NamedTuple):
    """Indices of the inputs and rows that remain in pruned matrices, see :class:`.transform.ModelChange`."""

    inputs: Mapping[str, torch.Tensor]
    rows: Mapping[str, torch.Tensor]


Left = Callable[[], Remaining]

Beside = Callable[[tuple[int, ...]], float]
"""The bytes of a file in addition to the terms, by the levels of the genes that cut; see :class:`evoprune.Coupled`."""


def put_encoded(matrix: Matrix, encoded: Encoded) -> None:
    """Give ``matrix`` the values of ``encoded``, which has the same shape."""
    width = matrix.rows(matrix.weight).shape[1]
    matrix.weight.data.copy_(matrix.laid_out(torch.from_numpy(ggml.dequantize(encoded.data, encoded.kind, width))))
