"""Reads .gguf files, which are mapped into memory, in place of the reader of the package ``gguf``. Imports no torch."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.model_file import Stored
from evoprune.problems.language_model.models.settings import size_fault

_VERSIONS = (2, 3)
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_ALIGNMENT = "general.alignment"
_VALUES = {"F32": np.float32, "F16": np.float16}  # types that the package ``gguf`` returns as numbers


@dataclass(frozen=True, eq=False)
class Tensor(Stored):
    """A tensor in a .gguf file. ``data``: uint8 ``(rows, bytes of a row)``."""

    data: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class GgufFile:
    """The .gguf file ``path``. ``fields``: a GGUFValue, with its type, for each key of the metadata."""

    path: Path
    fields: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def value(self, ending: str, default: Any = None) -> Any:
        """Return the value of the first key that ends with ``ending``."""
        return next((field.value for key, field in self.fields.items() if key.endswith(ending)), default)


def read_gguf(path: Path) -> GgufFile:
    """Read the .gguf file ``path``, and cache the last one: a header of 150,000 tokens takes a second.

    The reader of the package ``gguf`` takes 10 s and 500 MB for it. Raises :class:`evoprune.InputError` for another
    format or a truncated file; ImportError without ``gguf``.
    """
    try:
        state = path.stat()
        return _read(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", str(path)) from None


@lru_cache(maxsize=1)
def _read(path: Path, *_: int) -> GgufFile:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            fields, infos, end = _header(content)
            size = len(content)
    except (OSError, ImportError):
        raise
    except Exception:  # bytes of another format may mean anything
        raise InputError("is no .gguf file, or a truncated one: give a whole one", str(path)) from None
    needed = max((end + place + nbytes for _, _, _, place, nbytes in infos), default=end)
    if infos and (fault := size_fault(size, needed)):
        raise InputError(fault, str(path))
    if empty := next((name for name, _, shape, _, _ in infos if not prod(shape)), None):
        raise InputError(f"the tensor {empty} holds no values: give a whole file", str(path))
    whole = np.asarray(np.memmap(path, np.uint8, "r"))
    tensors = {
        name: Tensor(kind, shape, nbytes, whole[end + place : end + place + nbytes].reshape(prod(shape[:-1]), -1))
        for name, kind, shape, place, nbytes in infos
    }
    return GgufFile(path, fields, tensors)


def _header(content: mmap.mmap) -> tuple[dict[str, Any], list[tuple[str, str, tuple[int, ...], int, int]], int]:
    """Return the metadata; name, type, shape, offset and bytes of each tensor; and the offset of the data."""
    from gguf import GGUF_DEFAULT_ALIGNMENT

    reader = _Reader(content)
    magic, version, tensors, entries = reader.numbers("4sIQQ")
    if magic != b"GGUF" or version not in _VERSIONS:
        raise ValueError("another format")
    fields = {reader.string(): reader.value() for _ in range(entries)}
    types, infos = {number: (kind, block) for kind, (number, *block) in ggml.types().items()}, []
    for _ in range(tensors):
        name = reader.string()
        (dimensions,) = reader.numbers("I")
        *shape, number, place = reader.numbers(f"{dimensions}QIQ")
        kind, (weights, nbytes) = types[number]
        infos.append((name, kind, tuple(reversed(shape)), place, prod(shape) // weights * nbytes))
    alignment = fields[_ALIGNMENT].value if _ALIGNMENT in fields else GGUF_DEFAULT_ALIGNMENT
    return fields, infos, -(-reader.place // alignment) * alignment


class _Reader:
    """Reads values from ``content``, from its start on. Raises any exception if it is truncated."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content, self.place = content, 0

    def numbers(self, kinds: str) -> tuple[Any, ...]:
        """Read numbers; ``kinds``: their format, of ``struct``."""
        values = struct.unpack_from(f"<{kinds}", self._content, self.place)
        self.place += struct.calcsize(f"<{kinds}")
        return values

    def string(self) -> str:
        (length,) = self.numbers("Q")
        (text,) = self.numbers(f"{length}s")
        return text.decode()  # type: ignore[no-any-return]

    def value(self) -> Any:
        """Read a value with its type."""
        from gguf import GGUFValue, GGUFValueType

        (kind,) = self.numbers("I")
        if kind != _ARRAY:
            return GGUFValue(self._values(kind, 1)[0], GGUFValueType(kind))
        kind, count = self.numbers("IQ")
        return GGUFValue(self._values(kind, count), GGUFValueType.ARRAY, GGUFValueType(kind))

    def _values(self, kind: int, count: int) -> list[Any]:
        if kind == _STRING:
            return [self.string() for _ in range(count)]
        return list(self.numbers(f"{count}{_NUMBERS[kind]}"))


@contextmanager
def read_as_package(part: Mapping[str, slice] | None = None) -> Iterator[None]:
    """Let transformers read files by :func:`read_gguf` instead of the reader of the package ``gguf``.

    ``part``: the rows to read of each tensor, by name; by default all tensors. The package's map of tensor names is
    cached: transformers builds it hundreds of times. ggml dequantises if it is installed.
    """
    import gguf

    package: Any = gguf
    before = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map", "dequantize")}
    package.GGUFReader = partial(_AsPackage, part)
    package.get_tensor_name_map = cache(gguf.get_tensor_name_map)
    package.dequantize = partial(_dequantised, gguf.dequantize)
    try:
        yield
    finally:
        for name, original in before.items():
            setattr(gguf, name, original)


def _dequantised(package: Callable[..., NDArray[Any]], data: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Dequantise ``data`` by ggml, which takes a tenth of the time, or else by the ``package``."""
    if kind.name in ggml.FLOATS or ggml.missing():
        return package(data, kind)
    width = data.shape[-1] // ggml.row_bytes(kind.name, ggml.block_size(kind.name)) * ggml.block_size(kind.name)
    return ggml.dequantize(data.reshape(-1, data.shape[-1]), kind.name, width).reshape(*data.shape[:-1], width)


class _AsPackage:
    """Stands in for the package's reader, as far as transformers uses it."""

    def __init__(self, part: Mapping[str, slice] | None, path: str | Path) -> None:
        from gguf import GGMLQuantizationType

        file, types = read_gguf(Path(path)), GGMLQuantizationType.__members__
        needed = (key for key in file.fields if part is None or not key.startswith("tokenizer."))  # which takes long
        self.fields = {key: _field(file.fields[key]) for key in needed}
        self.tensors = [
            SimpleNamespace(
                name=name,
                data=_array(tensor)[part[name] if part else slice(None)],
                tensor_type=types.get(tensor.kind, SimpleNamespace(name=tensor.kind)),
            )
            for name, tensor in file.tensors.items()
            if part is None or name in part
        ]


def _field(field: Any) -> Any:
    values = [field.value] if field.sub_type is None else field.value
    parts = [value.encode() if isinstance(value, str) else [value] for value in values]
    types = [field.type] if field.sub_type is None else [field.type, field.sub_type]
    return SimpleNamespace(parts=parts, data=range(len(parts)), types=types)


def _array(tensor: Tensor) -> NDArray[Any]:
    values = tensor.data.view(_VALUES[tensor.kind]) if tensor.kind in _VALUES else tensor.data
    return values.reshape(*tensor.shape[:-1], -1)
