"""The scales and codes of blocks in each type."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import SCALE_OFFSETS, GgmlMatrix

KINDS = [kind for kind in ggml.types() if ggml.fits(kind, 512) and kind in SCALE_OFFSETS]


@pytest.fixture(params=KINDS, scope="module")
def encoded(request):
    """Any bytes, with finite scales: to quantise to IQ1_S ggml prepares ten seconds."""
    random = np.random.default_rng(0)
    blocks = GgmlMatrix(request.param, random.integers(0, 256, (4, ggml.row_bytes(request.param, 512)), np.uint8))
    return blocks.with_scales(random.normal(size=blocks.scales.shape).astype(np.float32))


def test_codes_times_other_scales_are_the_values_of_their_bytes(encoded):
    random = np.random.default_rng(1)
    changed = encoded.with_scales(encoded.scales * random.uniform(0.5, 1.5, encoded.scales.shape))
    block = 512 // changed.scales.shape[2]
    values = sum(
        np.repeat(scale, block, axis=1) * (codes / np.float32(unit))
        for scale, (codes, unit) in zip(changed.scales, encoded.codes(512), strict=True)
    )
    np.testing.assert_array_equal(values.astype(np.float32), ggml.dequantize(changed.data, encoded.kind, 512))


def test_two_bytes_of_each_block_change_for_each_field(encoded):
    scales = encoded.scales
    changed = encoded.with_scales(-2 * scales - 1)
    different = (changed.data != encoded.data).reshape(4, scales.shape[2], -1)
    assert different.any((0, 1)).sum() <= 2 * len(scales)
    np.testing.assert_array_equal(changed.with_scales(scales).data, encoded.data)
    np.testing.assert_array_equal(changed.codes(512)[0][0], encoded.codes(512)[0][0])
