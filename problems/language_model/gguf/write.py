"""Writes a model as a .gguf file."""

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
from gguf import GGMLQuantizationType, GGUFWriter
from numpy.typing import NDArray

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import Base
from evoprune.problems.language_model.gguf.forms import values
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.gguf.layout import Layout, lay_out
from evoprune.problems.language_model.gguf.names import ROUTER, Slot, within_block
from evoprune.problems.language_model.gguf.size import file_bytes

VECTORS = "F32"  # the kind of routers, and of tensors with one dimension: llama.cpp has kernels for no other
_ZEROS = "Q4_0"  # the kind of matrices of zeros, where their width allows it: the smallest


@dataclass(frozen=True)
class Contents:
    """The contents of a file. ``kinds``: by the tensors' names. ``encoded``, ``weights``: by parameters' names."""

    layout: Layout
    base: Base
    kinds: Mapping[str, str]
    encoded: Mapping[str, Encoded]
    weights: Mapping[str, torch.Tensor]

    @property
    def bytes(self) -> int:
        """The bytes of the file."""
        listed = [(slot.name, self.kinds[slot.name], slot.shape) for slot in self.layout.slots]
        listed += [(name, tensor.kind, tensor.shape) for name, tensor in self.base.kept.items()]
        return file_bytes(self.layout.architecture, self.layout.fields, listed)

    def write(self, path: Path) -> None:
        """Write the file ``path``, one tensor after the other. Raises OSError."""
        with self._begun(path) as writer:
            for slot in self.layout.slots:
                writer.write_tensor_data(self._data(slot).view(_Written))
            for tensor in self.base.kept.values():
                writer.write_tensor_data(tensor.data.view(_Written))

    def write_outline(self, path: Path) -> None:
        """Write the header of the file, and leave zeros for the tensors, which take no room on most disks."""
        with self._begun(path):
            pass
        truncate(path, self.bytes)

    @contextmanager
    def _begun(self, path: Path) -> Iterator[Any]:
        writer = GGUFWriter(path, self.layout.architecture)
        for key, field in self.layout.fields.items():
            writer.add_key_value(key, field.value, field.type, field.sub_type)
        for slot in self.layout.slots:
            _add(writer, slot.name, slot.shape, self.kinds[slot.name])
        for name, tensor in self.base.kept.items():
            _add(writer, name, tensor.shape, tensor.kind)
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            yield writer
        finally:
            writer.close()

    def _data(self, slot: Slot) -> NDArray[np.uint8]:
        if slot.parameter is None:
            rows = np.full(slot.shape, slot.fill, dtype=np.float32)
        elif slot.parameter in self.encoded:
            return slot.form.ordered(slot.encoded_rows(self.encoded[slot.parameter].data))
        else:
            weight, source = self.weights[slot.parameter], None if slot.typed else self.base.tensor(slot.name)
            if source and source.shape == slot.shape and slot.holds(values(source).reshape(slot.shape), weight):
                return source.data
            rows = slot.rows(weight)
        return ggml.quantize(rows.reshape(-1, rows.shape[-1]), self.kinds[slot.name])


class _Written(np.ndarray):
    """An array whose writing fails with the system's error, as of a full disk; NumPy's own counts bytes."""

    def tofile(self, file: Any) -> None:  # type: ignore[override]
        file.write(np.ascontiguousarray(self).data)


def _add(writer: Any, name: str, shape: tuple[int, ...], kind: str) -> None:
    number = GGMLQuantizationType[kind]
    size = ggml.row_bytes(kind, shape[-1]) * prod(shape[:-1])
    writer.add_tensor_info(name, shape, np.dtype(np.float32), size, number)


def plain_kind(slot: Slot, base: Base, half: str | None = None) -> str:
    """The kind of a tensor that no transform has encoded. ``half``: that of matrices; None is that of ``base``."""
    if not slot.typed and (source := base.tensor(slot.name)):
        return source.kind
    if len(slot.shape) == 1 or within_block(slot.name) == ROUTER:
        return VECTORS
    return _ZEROS if slot.parameter is None and ggml.fits(_ZEROS, slot.shape[1]) else half or base.half


def contents(model: Any, base: Base, encoded: Mapping[str, Encoded], half: str | None = None) -> Contents:
    """The contents of a file of ``model`` as it is now: ``encoded`` matrices as they are, the others in ``half``.

    ``half``: a kind; None is that of ``base``. All that has no type to choose, and was not changed, is the base's.
    """
    layout = lay_out(model, base)
    kinds = {}
    for slot in layout.slots:
        matrix = encoded.get(slot.parameter or "")
        kinds[slot.name] = matrix.kind if matrix else plain_kind(slot, base, half)
        halves = 1 if slot.half is None else 2
        rows, width = halves * prod(slot.shape[:-1]), slot.shape[-1]
        if matrix and matrix.data.shape != (rows, ggml.row_bytes(matrix.kind, width)):
            raise InputError(f"{slot.parameter} was encoded in another shape than {' x '.join(map(str, slot.shape))}")
    matrices = [kinds[slot.name] for slot in layout.slots if len(slot.shape) > 1]
    return Contents(layout.with_kinds(matrices), base, kinds, encoded, dict(model.named_parameters()))
