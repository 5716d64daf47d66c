"""ggml against the reference in Python that the package gguf has."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml

ROUNDED = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")  # by the reference too
OF_32 = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "MXFP4")
OF_256 = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_XXS")


@pytest.fixture
def weights() -> np.ndarray:
    """Eight rows of 256."""
    return np.random.default_rng(0).normal(size=(8, 256)).astype(np.float32)


@pytest.mark.parametrize("kind", ROUNDED)
def test_quantises_as_the_reference(weights, kind):
    expected = gguf.quants.quantize(weights, gguf.GGMLQuantizationType[kind])
    np.testing.assert_array_equal(ggml.quantize(weights, kind), np.atleast_2d(expected).view(np.uint8))


@pytest.mark.parametrize("kind", (*OF_32, *OF_256))
def test_dequantises_as_the_reference(weights, kind):
    data = ggml.quantize(weights, kind)
    expected = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind])
    np.testing.assert_allclose(ggml.dequantize(data, kind, 256), expected, rtol=1e-6, atol=1e-9)
    assert data.shape == (8, ggml.row_bytes(kind, 256))


@pytest.mark.parametrize("kind", ("Q4_0", "Q4_1", "Q5_1", "IQ4_NL", "Q4_K", "IQ2_XXS"))
def test_importance_counts(weights, kind):
    ends = np.geomspace(0.01, 100, 256, dtype=np.float32)
    errors = [
        ((ggml.dequantize(ggml.quantize(weights, kind, importance), kind, 256) - weights) ** 2 * ends).sum()
        for importance in (ends, ends[::-1].copy())
    ]
    assert errors[0] < errors[1]


def test_the_width_decides(weights):
    narrow = weights[:, :96]
    assert [kind for kind in (*OF_32, *OF_256) if ggml.fits(kind, 96)] == list(OF_32)
    assert all(ggml.fits(kind, 512) for kind in (*OF_32, *OF_256))
    with pytest.raises(InputError, match="rows of 96 weights cannot be Q4_K: it needs a multiple of 256"):
        ggml.quantize(narrow, "Q4_K")


def test_bad_arrays(weights):
    with pytest.raises(ValueError, match="finite"):
        ggml.quantize(np.full((1, 32), np.nan, dtype=np.float32), "Q8_0")
    with pytest.raises(ValueError, match="importance"):
        ggml.quantize(weights, "Q4_0", np.ones(32, dtype=np.float32))
    with pytest.raises(ValueError, match="rows of 272"):
        ggml.dequantize(np.zeros((2, 34), dtype=np.uint8), "Q8_0", 256)
