"""Quantises and dequantises rows of weights with ggml, the library of llama.cpp.

Types have GGUF's names, such as ``F16``, ``Q8_0`` or ``Q4_K``. The library is that of an installed PyPI package; the
package ``gguf`` is imported when it is needed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Collection
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprune import InputError
from evoprune.problems.language_model.gguf import q2_0

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

COMMON = (
    "Q8_0", "Q6_K", "Q5_1", "Q5_0", "Q5_K", "Q4_1", "Q4_0", "Q4_K", "IQ4_NL", "IQ4_XS", "MXFP4",
    "Q3_K", "IQ3_S", "IQ3_XXS", "Q2_K", "IQ2_S", "IQ2_XS", "IQ2_XXS",
)  # fmt: skip
"""The types to choose from by default; types of fewer bits lose far more."""

NARROW = ("Q2_0",)
"""Types to choose from if some rows fit none of the others below four bits."""

OWN = {"Q2_0": q2_0.quantize}
"""Quantisers in place of ggml's, which lose more."""

_K_BLOCK = 256  # weights in a block of the K- and most IQ-types

_PLAIN = ("F32", "F16", "BF16")  # unquantised types that ggml writes

FLOATS = frozenset({"F64", *_PLAIN})
"""Unquantised types."""

_MISSING = "GGUF files need llama.cpp's library; pip install 'evoprune[gguf]'"


def missing() -> str | None:
    """Return the command that installs missing packages, without which nothing can be quantised; None if none is."""
    return None if find_spec("gguf") and _libraries() else _MISSING


def version() -> str:
    """Return the version of ggml: another one may quantise differently."""
    return f"{_library().ggml_version().decode()} {_library().ggml_commit().decode()}"


def fits(kind: str, width: int) -> bool:
    """Return whether ggml can quantise rows of ``width`` weights to ``kind``."""
    return _is_known(kind) and width % block_size(kind) == 0


def usual(widths: Collection[int]) -> tuple[str, ...]:
    """Return the types to choose from by default for rows of ``widths``; some may fit none."""
    return (*COMMON, *NARROW) if any(width % _K_BLOCK for width in widths) else COMMON


def block_size(kind: str) -> int:
    """Return the number of weights in a block of ``kind``."""
    if not _is_known(kind):
        raise InputError(f"'{kind}' is no type that ggml quantises to; expected a name such as Q8_0, Q4_K or IQ4_NL")
    return types()[kind][1]


def bits(kind: str) -> float:
    """Return the bits per weight of ``kind``."""
    block = block_size(kind)
    return 8 * row_bytes(kind, block) / block


def row_bytes(kind: str, width: int) -> int:
    """Return the bytes of a row of ``width`` weights."""
    if width % (block := block_size(kind)):
        raise InputError(f"rows of {width} weights cannot be {kind}: it needs a multiple of {block}")
    return width // block * types()[kind][2]


def quantize(weights: Floats, kind: str, importance: Floats | None = None) -> Bytes:
    """Quantise ``weights`` ``(rows, width)`` to ``kind``: uint8 ``(rows, row_bytes)``.

    ``importance`` ``(width,)``, at least 0: the weight of each input's squared error; None: ggml's default, or uniform
    for types that require one.
    """
    if not np.isfinite(weights).all():
        raise ValueError("weights to quantise must be finite")
    weights = np.ascontiguousarray(weights, dtype=np.float32)
    rows, width = weights.shape
    data = np.empty((rows, row_bytes(kind, width)), dtype=np.uint8)
    library, number = _library(), types()[kind][0]
    if importance is None and (kind in OWN or library.ggml_quantize_requires_imatrix(number)):
        importance = np.ones(width, dtype=np.float32)
    if importance is not None:
        importance = np.ascontiguousarray(importance, dtype=np.float32)
        if importance.shape != (width,):
            raise ValueError(f"importance: expected {width} values, got the shape {importance.shape}")
    if importance is not None and kind in OWN:
        return OWN[kind](weights, importance)
    library.ggml_quantize_chunk(number, _pointer(weights), _pointer(data), 0, rows, width, _pointer(importance))
    return data


def dequantize(data: Bytes, kind: str, width: int) -> Floats:
    """Return the weights, float32 ``(rows, width)``, of ``data`` ``(rows, row_bytes)`` of ``kind``."""
    data = np.ascontiguousarray(data)
    if data.dtype != np.uint8 or data.shape != (len(data), row_bytes(kind, width)):
        raise ValueError(f"data: expected uint8 in rows of {row_bytes(kind, width)}, got {data.dtype} {data.shape}")
    if kind == "F32":
        return data.view(np.float32)
    weights = np.empty((len(data), width), dtype=np.float32)
    name = {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}.get(kind, "dequantize_row" + _suffix(kind))
    getattr(_library(), name)(_pointer(data), _pointer(weights), ctypes.c_int64(weights.size))
    return weights


def _is_known(kind: str) -> bool:
    """Return whether ggml can quantise to ``kind``: it ends the process if asked for another."""
    return kind in _PLAIN or (kind in types() and hasattr(_library(), "quantize" + _suffix(kind)))


def _suffix(kind: str) -> str:
    return "_" + (kind[:-2].lower() + "_K" if kind.endswith("_K") else kind.lower())


@cache
def types() -> dict[str, tuple[int, int, int]]:
    """Return for each type its number in files, and the weights and bytes of a block."""
    try:
        from gguf import GGML_QUANT_SIZES
    except ImportError:
        raise InputError(_MISSING) from None
    return {"Q2_0": q2_0.SIZES} | {kind.name: (kind.value, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(str(_libraries()[0]))
    except (IndexError, OSError) as error:
        raise InputError(f"{_MISSING} ({error})") from None
    library.ggml_version.restype = library.ggml_commit.restype = ctypes.c_char_p
    library.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    sizes = [ctypes.c_int64] * 3
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *sizes, ctypes.c_void_p]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


def _libraries() -> list[Path]:
    pattern = "libggml-base*.dylib" if sys.platform == "darwin" else "libggml-base.so*"
    spec = find_spec("llama_cpp_py_sync")
    places = (spec.submodule_search_locations if spec else None) or []
    return [path for place in places for path in sorted(Path(place).glob(pattern))]


def _pointer(array: NDArray[Any] | None) -> ctypes.c_void_p | None:
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)
