"""The exact bytes of a .gguf file before it is written: header, metadata, and tensors at multiples of 32."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

from gguf import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType, GGUFValueType

from evoprune.problems.language_model.gguf.metadata import Fields

Shape = tuple[int, ...]

_ALIGNMENT: int = GGUF_DEFAULT_ALIGNMENT

HEAD_BYTES = 4 + 4 + 8 + 8 + 8 + len("general.architecture") + 4
"""Of the format, its version, the numbers of tensors and fields, and the key of the architecture."""

_BYTES = {
    GGUFValueType.UINT8: 1, GGUFValueType.INT8: 1, GGUFValueType.BOOL: 1,
    GGUFValueType.UINT16: 2, GGUFValueType.INT16: 2,
    GGUFValueType.UINT32: 4, GGUFValueType.INT32: 4, GGUFValueType.FLOAT32: 4,
    GGUFValueType.UINT64: 8, GGUFValueType.INT64: 8, GGUFValueType.FLOAT64: 8,
}  # fmt: skip


def file_bytes(architecture: str, fields: Fields, tensors: Iterable[tuple[str, str, Shape]]) -> int:
    """The bytes of a file with ``fields``, its architecture, and ``tensors``, each a name, a kind and a shape."""
    listed = list(tensors)
    head = HEAD_BYTES + string_bytes(architecture) + sum(field_bytes(key, field) for key, field in fields.items())
    head += sum(info_bytes(name, shape) for name, _, shape in listed)
    return padded(head) + sum(tensor_bytes(kind, shape) for _, kind, shape in listed)


def field_bytes(key: str, field: Any) -> int:
    """The bytes of one entry of the metadata."""
    return string_bytes(key) + 4 + _value(field.value, field.type, field.sub_type)


def info_bytes(name: str, shape: Shape) -> int:
    """The bytes of the header that describe one tensor."""
    return string_bytes(name) + 4 + 8 * len(shape) + 4 + 8


def tensor_bytes(kind: str, shape: Shape) -> int:
    """The bytes of a tensor of ``kind``, with the padding after it."""
    weights, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return padded(prod(shape) // weights * size)


def _value(value: Any, kind: Any, of: Any) -> int:
    if kind == GGUFValueType.STRING:
        return string_bytes(value)
    if kind == GGUFValueType.ARRAY:
        return 4 + 8 + (sum(map(string_bytes, value)) if of == GGUFValueType.STRING else len(value) * _BYTES[of])
    return _BYTES[kind]


def string_bytes(text: str) -> int:
    """The bytes of ``text`` and of the length before it."""
    return 8 + len(text.encode())


def padded(size: int) -> int:
    """``size``, rounded up to where the next tensor may begin."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT
