"""The scales in the blocks of each type, against what ggml makes of the bytes."""

from __future__ import annotations

import numpy as np
import pytest

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Encoded, codes_of, has_scales, scales_of, with_scales

KINDS = [kind for kind in ggml._types() if ggml.fits(kind, 512) and has_scales(kind)]


@pytest.fixture(params=KINDS, scope="module")
def encoded(request):
    """Any bytes, with finite scales: to quantise to IQ1_S ggml prepares ten seconds."""
    random = np.random.default_rng(0)
    blocks = Encoded(request.param, random.integers(0, 256, (4, ggml.row_bytes(request.param, 512)), np.uint8))
    return with_scales(blocks, random.normal(size=scales_of(blocks).shape).astype(np.float32))


def test_codes_times_other_scales_are_the_values_of_their_bytes(encoded):
    random = np.random.default_rng(1)
    changed = with_scales(encoded, scales_of(encoded) * random.uniform(0.5, 1.5, scales_of(encoded).shape))
    block = 512 // scales_of(changed).shape[2]
    values = sum(
        np.repeat(scale, block, axis=1) * (codes / np.float32(unit))
        for scale, (codes, unit) in zip(scales_of(changed), codes_of(encoded, 512), strict=True)
    )
    np.testing.assert_array_equal(values.astype(np.float32), ggml.dequantize(changed.data, encoded.kind, 512))


def test_two_bytes_of_each_block_change_for_each_field(encoded):
    scales = scales_of(encoded)
    changed = with_scales(encoded, -2 * scales - 1)
    different = (changed.data != encoded.data).reshape(4, scales.shape[2], -1)
    assert different.any((0, 1)).sum() <= 2 * len(scales)
    np.testing.assert_array_equal(with_scales(changed, scales).data, encoded.data)
    np.testing.assert_array_equal(codes_of(changed, 512)[0][0], codes_of(encoded, 512)[0][0])
