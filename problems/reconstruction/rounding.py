"""Rounding of a matrix to a type of GGUF, in which each block of columns makes up for the errors of those before."""

import numpy as np
import torch

from problems.gguf import ggml
from problems.reconstruction.update import inverse_factor

_LEAST = 1e-6  # inputs count at least as this share of the mean one: ggml fails where a whole block has no weight


def compensated(weight: torch.Tensor, kind: str, gram: torch.Tensor) -> ggml.Bytes:
    """The rows ``weight`` ``(out, in)`` in ``kind``, as :func:`problems.gguf.ggml.quantize` returns them; on the CPU.

    ``gram`` ``(in, in)``: the mean of x x^T over the inputs, whose diagonal is the importance. GPTQ (Frantar et al.,
    ICLR 2023), with the blocks that the type stores together in place of single columns.
    """
    factor, updated, size = inverse_factor(gram).cpu(), weight.float().cpu().clone(), ggml.block_size(kind)
    squares = gram.diagonal().float().cpu()
    importance: ggml.Floats = squares.clamp(min=_LEAST * float(squares.mean()) or 1.0).numpy()
    blocks = []
    for first in range(0, updated.shape[1], size):
        own = slice(first, first + size)
        now = updated[:, own]
        blocks.append(ggml.quantize(now.numpy(), kind, importance[own]))
        lost = now - torch.from_numpy(ggml.dequantize(blocks[-1], kind, size))
        errors = torch.linalg.solve_triangular(factor[own, own], lost, upper=True, left=False)
        updated[:, own.stop :] -= errors @ factor[own, own.stop :]
    return np.concatenate(blocks, axis=1)
