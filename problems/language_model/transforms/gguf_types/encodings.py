"""The bytes of matrices in types: quantised some rows at a time, in all threads, once for each pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from evoprune.console.phase import steps
from evoprune.problems.language_model.calibration.tensor_cache import Tensors
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.memory import Room

_SLICE = 2**18  # weights that a thread takes at once, in some float32 copies

Given = TypeVar("Given")
Made = TypeVar("Made")


class Encodings:
    """The bytes of matrices of the dense model, made when a candidate needs them and kept in files without names.

    ``importance``: of the inputs of matrices by their names, as of :func:`.importance.importance_of`.
    """

    def __init__(self, importance: Tensors) -> None:
        self.importance = importance
        self._made: dict[tuple[str, str], ggml.Bytes] = {}

    def make(self, wanted: Iterable[tuple[Matrix, torch.Tensor, str]]) -> None:
        """Quantise matrices, whose loaded weights are given, to types, as far as that was not done before."""
        new = [each for each in wanted if (each[0].name, each[2]) not in self._made]
        made = encoded(new, self.importance, Room.mapped()) if new else []
        self._made |= {(matrix.name, kind): data for (matrix, _, kind), data in zip(new, made, strict=True)}

    def __call__(self, matrix: Matrix, weight: torch.Tensor, kind: str) -> ggml.Bytes:
        """The bytes ``(rows, bytes of a row)`` of ``matrix``, whose loaded ``weight`` is given, in ``kind``."""
        self.make([(matrix, weight, kind)])
        return self._made[matrix.name, kind]


def encoded(
    wanted: Sequence[tuple[Matrix, torch.Tensor, str]], importance: Mapping[str, torch.Tensor], room: Room
) -> list[ggml.Bytes]:
    """Quantise matrices, whose weights are given, to types, in all threads; the bytes lie in ``room``.

    ``importance``: of the inputs ``(in,)`` of a matrix, or by expert ``(experts, in)``, by its name.
    """
    made, parts = [], []
    for matrix, weight, kind in wanted:
        rows = matrix.rows(weight.detach())
        made.append(room.empty((len(rows), ggml.row_bytes(kind, rows.shape[1])), torch.uint8).numpy())
        parts += [(rows, kind, importance.get(matrix.name), made[-1], part) for part in _slices(matrix, rows)]

    def work(part: tuple[torch.Tensor, str, torch.Tensor | None, ggml.Bytes, slice]) -> None:
        rows, kind, weighed, data, own = part
        numbers = np.arange(own.start, own.stop)
        data[own] = quantised_rows(rows[own].float().cpu().numpy(), kind, weighed, numbers, len(rows))

    for _ in in_threads(work, parts, "quantising"):
        pass
    return made


def in_threads(work: Callable[[Given], Made], given: Sequence[Given], label: str) -> Iterator[Made]:
    """Yield the results of ``work`` in their order; ggml runs without the interpreter's lock."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from steps(pool.map(work, given), label, "part", len(given))


def quantised_rows(
    weights: ggml.Floats, kind: str, importance: torch.Tensor | None, rows: NDArray[np.int64], count: int
) -> ggml.Bytes:
    """Quantise the ``weights`` of ``rows``, in rising order, of a matrix with ``count`` rows."""
    if importance is None or importance.dim() == 1:
        return ggml.quantize(weights, kind, None if importance is None else importance.cpu().numpy())
    of_experts = importance.cpu().numpy()
    experts = rows * len(of_experts) // count
    parts = [ggml.quantize(weights[experts == each], kind, of_experts[each]) for each in np.unique(experts)]
    return np.concatenate(parts)


def values_of(
    matrix: Matrix, weight: torch.Tensor, kind: str, data: ggml.Bytes, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """The values of ``data`` in ``kind``, or of some ``rows``, laid out and stored like ``weight`` of ``matrix``."""
    width = matrix.rows(weight).shape[1]
    data = data if rows is None else data[rows.cpu().numpy()]
    values = torch.empty(len(data), width, dtype=weight.dtype)
    step = max(1, _SLICE // width)
    for first in range(0, len(data), step):  # a stack of experts in float32 may have no room
        values[first : first + step] = torch.from_numpy(ggml.dequantize(data[first : first + step], kind, width))
    return matrix.laid_out(values).to(weight.device).contiguous()


def put_encoded(matrix: Matrix, encoded: ggml.Encoded) -> None:
    """Give ``matrix`` the values of ``encoded``, which has the same shape."""
    matrix.weight.data.copy_(values_of(matrix, matrix.weight, encoded.kind, encoded.data))


def row_slices(matrix: Matrix) -> Iterator[slice]:
    """The rows of ``matrix``, as many of an expert at a time as have about :data:`_SLICE` weights."""
    return _slices(matrix, matrix.rows(matrix.weight))


def _slices(matrix: Matrix, rows: torch.Tensor) -> Iterator[slice]:
    count, alike = max(1, _SLICE // rows.shape[1]), matrix.outputs if len(rows) % matrix.outputs == 0 else len(rows)
    starts = [start + first for start in range(0, len(rows), alike) for first in range(0, alike, count)]
    return (slice(first, end) for first, end in pairwise([*starts, len(rows)]))
