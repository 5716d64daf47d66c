"""llama.cpp's type Q2_0, which the package ``gguf`` does not know: 64 weights share a scale of either sign.

A block has a float16 scale and 64 codes of 2 bits, the first in the lowest bits; a weight is ``scale x (code - 1)``.
ggml's own quantiser takes the block's largest weight as the scale, so that no code is 2, and ignores importance: on
normal weights its error is 0.72 of their size, by the best scale 0.35.
"""

import numpy as np
from numpy.typing import NDArray

SIZES = (42, 64, 18)
"""The number of the type, and the weights and bytes of a block."""

_GRID = (-1, 2)  # the least and the largest weight, in scales


def quantize(weights: NDArray[np.float32], importance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """As :func:`.ggml.quantize`, by the scales of the least squared error, weighted by ``importance`` ``(in,)``."""
    blocks = weights.reshape(-1, SIZES[1])
    weighing = np.broadcast_to(importance, weights.shape).reshape(blocks.shape)
    scales = _best_scales(blocks, weighing).astype(np.float16)
    divisors = np.where(scales == 0, np.inf, scales.astype(np.float32))
    codes = (np.clip(np.rint(blocks / divisors), *_GRID) - _GRID[0]).astype(np.uint8).reshape(len(blocks), -1, 4)
    packed = np.bitwise_or.reduce(codes << np.arange(0, 8, 2, dtype=np.uint8), axis=2)
    return np.concatenate([scales.view(np.uint8), packed], axis=1).reshape(len(weights), -1)


def _best_scales(blocks: NDArray[np.float32], weighing: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale ``(blocks, 1)`` of the least squared error, over all roundings that a scale can cause.

    While a scale shrinks, weights round to one more code, one after the other. For codes q of weights x, the best scale
    is sum(x q) / sum(q q), which removes sum(x q)^2 / sum(q q) of the squares; both sums change by a term a weight.
    """
    sizes = np.abs(blocks)
    best, most = np.zeros((2, len(blocks), 1), np.float32)
    for sign in (1, -1):
        reaches_two = sign * blocks > 0
        halves = np.concatenate([sizes, reaches_two * sizes / 3], 1)  # half the scale at which a code changes
        order = np.argsort(-halves, 1)
        terms = (weighing * sizes, reaches_two * weighing * sizes), (weighing, 3 * reaches_two * weighing)
        products, squares = (np.take_along_axis(np.concatenate(each, 1), order, 1).cumsum(1) for each in terms)
        scales = products / np.maximum(squares, np.finfo(np.float32).tiny)
        place = (products * scales).argmax(1)[:, None]
        removed, scale = (np.take_along_axis(each, place, 1) for each in (products * scales, sign * scales))
        best, most = np.where(removed > most, scale, best), np.maximum(removed, most)
    return best
