"""Our quantiser of Q2_0 against ggml, and the files that hold it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.gguf import ggml, q2_0
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.reader import read_as_package, read_gguf

if not ggml.fits("Q2_0", 64):
    pytest.skip("this llama.cpp has no Q2_0", allow_module_level=True)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def of_ggml(weights: np.ndarray) -> np.ndarray:
    """Return the bytes by ggml's own quantiser."""
    data = np.empty((len(weights), ggml.row_bytes("Q2_0", weights.shape[1])), np.uint8)
    pointers = ggml._pointer(weights), ggml._pointer(data)
    ggml._library().ggml_quantize_chunk(ggml.types()["Q2_0"][0], *pointers, 0, *weights.shape, None)
    return data


def error(data: np.ndarray, weights: np.ndarray, importance: np.ndarray | float = 1.0) -> float:
    """Return the error as a share of the weights."""
    change = ggml.dequantize(data, "Q2_0", weights.shape[1]) - weights
    return float(np.sqrt((importance * change**2).sum() / (importance * weights**2).sum()))


def test_ggml_reads_each_code_at_its_place():
    codes = (np.random.default_rng(0).integers(4, size=(4, 64)) - 1).astype(np.float32)
    weights = codes * np.float32(np.float16(-0.37))
    data = q2_0.quantize(weights, np.ones(64, np.float32))
    np.testing.assert_array_equal(ggml.dequantize(data, "Q2_0", 64), weights)
    whole = np.clip(codes, -1, 1) * np.float32(0.5)  # where both quantisers choose the same scale
    np.testing.assert_array_equal(of_ggml(whole), q2_0.quantize(whole, np.ones(64, np.float32)))


def test_the_scale_halves_the_error_of_ggmls_own():
    weights = normal(100, 576)
    ours, theirs = error(ggml.quantize(weights, "Q2_0"), weights), error(of_ggml(weights), weights)
    assert ours < 0.36
    assert theirs > 0.7


def test_no_scale_is_better():
    weights, importance = normal(3, 64), np.geomspace(0.1, 10, 64).astype(np.float32)
    found = error(ggml.quantize(weights, "Q2_0", importance), weights, importance)
    least = np.full(3, np.inf)
    for scale in np.linspace(-3, 3, 600):
        rounded = np.clip(np.rint(weights / scale), -1, 2) * scale
        least = np.minimum(least, (importance * (rounded - weights) ** 2).sum(1))
    assert found**2 * (importance * weights**2).sum() <= least.sum() * 1.0005  # scales have 16 bits


@pytest.mark.parametrize("kind", [0.0, 1e-9, 3e4])
def test_blocks_of_one_value(kind):
    weights = np.full((1, 64), kind, np.float32)
    values = ggml.dequantize(ggml.quantize(weights, "Q2_0"), "Q2_0", 64)
    np.testing.assert_allclose(values, weights, atol=1e-7, rtol=1e-3)
    nothing = ggml.quantize(weights, "Q2_0", np.zeros(64, np.float32))
    assert np.isfinite(ggml.dequantize(nothing, "Q2_0", 64)).all()


def test_scales_are_trained_as_those_of_other_types():
    matrix = GgmlMatrix("Q2_0", ggml.quantize(normal(2, 128), "Q2_0"))
    ((codes, unit),) = matrix.codes(128)
    assert {*np.unique(codes)} <= {-1, 0, 1, 2}
    doubled = matrix.with_scales(2 * matrix.scales)
    values = np.repeat(2 * matrix.scales[0], 64, axis=1) * codes / unit
    np.testing.assert_array_equal(ggml.dequantize(doubled.data, "Q2_0", 128), values)


def test_files_are_read_as_they_were_written(tmp_path: Path):
    from gguf import GGUFWriter

    number, *_ = ggml.types()["Q2_0"]
    data = ggml.quantize(normal(4, 128), "Q2_0")
    writer = GGUFWriter(path := tmp_path / "own.gguf", "llama")
    writer.add_tensor_info("weight", (4, 128), np.dtype(np.float32), data.nbytes, number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.write_tensor_data(data)
    writer.close()
    tensor = read_gguf(path).tensors["weight"]
    assert (tensor.kind, tensor.shape) == ("Q2_0", (4, 128))
    np.testing.assert_array_equal(tensor.data, data)
    import gguf

    with read_as_package():
        (seen,) = gguf.GGUFReader(path).tensors
        values = gguf.dequantize(seen.data, seen.tensor_type)
    np.testing.assert_array_equal(values, ggml.dequantize(data, "Q2_0", 128))
