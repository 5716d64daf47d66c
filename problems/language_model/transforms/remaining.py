"""Matrices with the values of types."""

from __future__ import annotations

import torch

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.models.blocks import Matrix


def put_encoded(matrix: Matrix, encoded: Encoded) -> None:
    """Give ``matrix`` the values of ``encoded``, which has the same shape."""
    width = matrix.rows(matrix.weight).shape[1]
    matrix.weight.data.copy_(matrix.laid_out(torch.from_numpy(ggml.dequantize(encoded.data, encoded.kind, width))))
