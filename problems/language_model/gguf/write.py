"""Writes a model as a .gguf file, whose exact size is computed before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from os import truncate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUF_DEFAULT_ALIGNMENT, GGUFValueType, GGUFWriter
from numpy.typing import NDArray

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import Base
from evoprune.problems.language_model.gguf.layout import Layout, lay_out
from evoprune.problems.language_model.gguf.names import ROUTER, TensorSpec, values, within_block
from evoprune.problems.language_model.transforms.form import Encoded

VECTORS = "F32"  # the kind of routers, and of tensors with one dimension: llama.cpp has kernels for no other
_ZEROS = "Q4_0"  # the smallest type for matrices of zeros, where their width allows it

Shape = tuple[int, ...]

_ALIGNMENT: int = GGUF_DEFAULT_ALIGNMENT

HEAD_BYTES = 4 + 4 + 8 + 8 + 8 + len("general.architecture") + 4
"""Bytes of the magic number, the version, the numbers of tensors and fields, and the key of the architecture."""


@dataclass(frozen=True)
class Contents:
    """The contents of a file: ``kinds`` by tensor; ``encoded`` and ``weights`` by parameter."""

    layout: Layout
    base: Base
    kinds: Mapping[str, str]
    encoded: Mapping[str, Encoded]
    weights: Mapping[str, torch.Tensor]

    @property
    def tensors(self) -> list[tuple[str, str, Shape]]:
        """Name, type and shape of each tensor, in the order of the file."""
        listed = [(spec.name, self.kinds[spec.name], spec.shape) for spec in self.layout.specs]
        return listed + [(name, tensor.kind, tensor.shape) for name, tensor in self.base.extra_tensors.items()]

    @property
    def bytes(self) -> int:
        """Size of the file."""
        head = HEAD_BYTES + string_bytes(self.layout.architecture)
        head += sum(field_bytes(key, field) for key, field in self.layout.fields.items())
        head += sum(info_bytes(name, shape) for name, _, shape in self.tensors)
        return padded(head) + sum(tensor_bytes(kind, shape) for _, kind, shape in self.tensors)

    def write(self, path: Path) -> None:
        """Write the file ``path``, one tensor after the other. Raises OSError."""
        with self._header_written(path) as writer:
            for spec in self.layout.specs:
                writer.write_tensor_data(self._data(spec).view(_Written))
            for tensor in self.base.extra_tensors.values():
                writer.write_tensor_data(tensor.data.view(_Written))

    def write_outline(self, path: Path) -> None:
        """Write the header of the file, and a hole of zeros for the tensors, which takes no space on most disks."""
        with self._header_written(path):
            pass
        truncate(path, self.bytes)

    @contextmanager
    def _header_written(self, path: Path) -> Iterator[Any]:
        writer = GGUFWriter(path, self.layout.architecture)
        for key, field in self.layout.fields.items():
            writer.add_key_value(key, field.value, field.type, field.sub_type)
        for name, kind, shape in self.tensors:
            size = ggml.row_bytes(kind, shape[-1]) * prod(shape[:-1])
            writer.add_tensor_info(name, shape, np.dtype(np.float32), size, ggml.types()[kind][0])
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            yield writer
        finally:
            writer.close()

    def _data(self, spec: TensorSpec) -> NDArray[np.uint8]:
        if spec.parameter is None:
            rows = np.full(spec.shape, spec.fill, dtype=np.float32)
        elif spec.parameter in self.encoded:
            return spec.conversion.ordered(spec.encoded_rows(self.encoded[spec.parameter].data))
        else:
            weight, source = self.weights[spec.parameter], None if spec.typed else self.base.tensor(spec.name)
            if source and source.shape == spec.shape and spec.holds(values(source).reshape(spec.shape), weight):
                return source.data
            rows = spec.rows(weight)
        return ggml.quantize(rows.reshape(-1, rows.shape[-1]), self.kinds[spec.name])


class _Written(np.ndarray):
    """An array whose writing fails with the system's error, as of a full disk; NumPy's own counts bytes."""

    def tofile(self, file: Any) -> None:  # type: ignore[override]
        file.write(np.ascontiguousarray(self).data)


def plain_kind(spec: TensorSpec, base: Base, half: str | None = None) -> str:
    """Return the type of a tensor that no transform encoded. ``half``: the type of matrices; None: that of ``base``."""
    if not spec.typed and (source := base.tensor(spec.name)):
        return source.kind
    if len(spec.shape) == 1 or within_block(spec.name) == ROUTER:
        return VECTORS
    return _ZEROS if spec.parameter is None and ggml.fits(_ZEROS, spec.shape[1]) else half or base.half


def contents(model: Any, base: Base, encoded: Mapping[str, Encoded], half: str | None = None) -> Contents:
    """Return the contents of a file of ``model`` as it is now: ``encoded`` matrices, and the others in ``half``.

    ``half``: a type; None: that of ``base``. Unchanged tensors without a choice of type are copied from the base.
    """
    layout = lay_out(model, base)
    kinds = {}
    for spec in layout.specs:
        matrix = encoded.get(spec.parameter or "")
        kinds[spec.name] = matrix.kind if matrix else plain_kind(spec, base, half)
        halves = 1 if spec.half is None else 2
        rows, width = halves * prod(spec.shape[:-1]), spec.shape[-1]
        if matrix and matrix.data.shape != (rows, ggml.row_bytes(matrix.kind, width)):
            raise InputError(f"{spec.parameter} was encoded in another shape than {' x '.join(map(str, spec.shape))}")
    matrices = [kinds[spec.name] for spec in layout.specs if len(spec.shape) > 1]
    return Contents(layout.with_kinds(matrices), base, kinds, encoded, dict(model.named_parameters()))


def field_bytes(key: str, field: Any) -> int:
    """Return the bytes of one entry of the metadata."""
    return string_bytes(key) + 4 + _value(field.value, field.type, field.sub_type)


def info_bytes(name: str, shape: Shape) -> int:
    """Return the bytes of the header that describe one tensor."""
    return string_bytes(name) + 4 + 8 * len(shape) + 4 + 8


def tensor_bytes(kind: str, shape: Shape) -> int:
    """Return the bytes of a tensor of ``kind``, including the padding after it."""
    _, weights, size = ggml.types()[kind]
    return padded(prod(shape) // weights * size)


def _value(value: Any, kind: Any, of: Any) -> int:
    if kind == GGUFValueType.STRING:
        return string_bytes(value)
    if kind == GGUFValueType.ARRAY:
        texts = of == GGUFValueType.STRING
        return 4 + 8 + (sum(map(string_bytes, value)) if texts else len(value) * _value(0, of, None))
    return int("".join(filter(str.isdigit, kind.name)) or 8) // 8  # UINT16 has 16 bits, say, and BOOL has 8


def string_bytes(text: str) -> int:
    """Return the bytes of the length of ``text``, and of ``text``."""
    return 8 + len(text.encode())


def padded(size: int) -> int:
    """Round ``size`` up to the alignment of tensors."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT
