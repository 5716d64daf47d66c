"""Quantises matrices: some rows at a time, in all threads, each dense matrix once for each type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from evoprune.plugins import steps
from evoprune.problems.language_model.calibration.tensor_cache import Tensors
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import SLICE
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.memory import Placement

Item = TypeVar("Item")
Result = TypeVar("Result")


class Encodings:
    """Bytes of matrices of the dense model, quantised when a candidate needs them and stored in anonymous files.

    ``importance``: of the inputs of matrices, by name; see :func:`.importance.measure_importance`.
    """

    def __init__(self, importance: Tensors) -> None:
        self.importance = importance
        self._quantised: dict[tuple[str, str], ggml.Bytes] = {}

    def make(self, wanted: Iterable[tuple[Matrix, torch.Tensor, str]]) -> None:
        """Quantise matrices, with their loaded weights, to types, unless that was done before."""
        new = [each for each in wanted if (each[0].name, each[2]) not in self._quantised]
        placement = Placement(
            torch.device("cpu"), resident=False
        )  # files, whose pages may be dropped while memory is short
        quantised = quantise(new, self.importance, placement) if new else []
        self._quantised |= {(matrix.name, kind): data for (matrix, _, kind), data in zip(new, quantised, strict=True)}

    def __call__(self, matrix: Matrix, weight: torch.Tensor, kind: str) -> ggml.Bytes:
        """Return the bytes ``(rows, bytes of a row)`` of ``matrix``, with its loaded ``weight``, in ``kind``."""
        self.make([(matrix, weight, kind)])
        return self._quantised[matrix.name, kind]


def quantise(
    wanted: Sequence[tuple[Matrix, torch.Tensor, str]], importance: Mapping[str, torch.Tensor], placement: Placement
) -> list[ggml.Bytes]:
    """Quantise matrices, with their weights, to types, in all threads; the bytes are stored in ``placement``.

    ``importance``: of the inputs ``(in,)`` of a matrix, or by expert ``(experts, in)``, by the matrix's name.
    """
    quantised, parts = [], []
    for matrix, weight, kind in wanted:
        rows = matrix.rows(weight.detach())
        quantised.append(placement.empty((len(rows), ggml.row_bytes(kind, rows.shape[1])), torch.uint8).numpy())
        parts += [(rows, kind, importance.get(matrix.name), quantised[-1], part) for part in _slices(matrix, rows)]

    def work(part: tuple[torch.Tensor, str, torch.Tensor | None, ggml.Bytes, slice]) -> None:
        rows, kind, of_inputs, data, at = part
        indices = np.arange(at.start, at.stop)
        data[at] = quantise_rows(rows[at].float().cpu().numpy(), kind, of_inputs, indices, len(rows))

    for _ in in_threads(work, parts, "quantising"):
        pass
    return quantised


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], label: str) -> Iterator[Result]:
    """Yield the results of ``work`` in the order of ``items``; ggml runs without the interpreter's lock."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from steps(pool.map(work, items), label, "part", len(items))


def quantise_rows(
    weights: ggml.Floats, kind: str, importance: torch.Tensor | None, rows: NDArray[np.int64], count: int
) -> ggml.Bytes:
    """Quantise the ``weights`` of ``rows``, in rising order, of a matrix with ``count`` rows."""
    if importance is None or importance.dim() == 1:
        return ggml.quantize(weights, kind, None if importance is None else importance.cpu().numpy())
    of_experts = importance.cpu().numpy()
    experts = rows * len(of_experts) // count
    parts = [ggml.quantize(weights[experts == each], kind, of_experts[each]) for each in np.unique(experts)]
    return np.concatenate(parts)


def row_slices(matrix: Matrix) -> Iterator[slice]:
    """Return slices of the rows of ``matrix``, each of one expert, of about :data:`.encoded.SLICE` weights."""
    return _slices(matrix, matrix.rows(matrix.weight))


def _slices(matrix: Matrix, rows: torch.Tensor) -> Iterator[slice]:
    count, alike = max(1, SLICE // rows.shape[1]), matrix.outputs if len(rows) % matrix.outputs == 0 else len(rows)
    starts = [start + first for start in range(0, len(rows), alike) for first in range(0, alike, count)]
    return (slice(first, end) for first, end in pairwise([*starts, len(rows)]))
