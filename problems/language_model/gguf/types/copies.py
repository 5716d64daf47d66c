"""Quantised copies of a model's matrices: of loaded weights, rows of a quantised source, and pruned weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache
from torch import nn

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.ggml import Bytes
from evoprune.problems.language_model.gguf.types.encodings import Encodings, quantise
from evoprune.problems.language_model.gguf.types.matrices import DENSE
from evoprune.problems.language_model.gguf.types.source import stored_rows
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.lazy_weights import MakeWeight, make_lazy, maker_of
from evoprune.problems.language_model.models.memory import Placement, in_own_pages
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.tensor_file import sha256_of
from evoprune.problems.language_model.transforms.form import Encoded
from evoprune.problems.language_model.transforms.transform import RECENT_BYTES, KeptIndices

Quantised = tuple[MakeWeight | None, Callable[[], Bytes]]
"""Makes the values of a quantised matrix, None if it has them already; and returns its bytes in a file."""


class QuantisedCopy:
    """A copy of a matrix of the model in the type :attr:`kind`, at first none; ``data``: its bytes in a file.

    ``lazy``: values are made whenever the layer runs; pruned values may be, too. ``source``: the matrix in the model's
    source, if it is quantised there.
    """

    def __init__(self, model: Any, matrix: Matrix, lazy: bool, source: GgmlMatrix | None) -> None:
        self.matrix, self.source = matrix, source
        self.dense: Any = matrix.weight
        """The loaded weight."""
        self.shape: tuple[int, ...] = tuple(matrix.rows(self.dense).shape)
        """The loaded shape, ``(out, in)``."""
        self.kind = DENSE
        self.data: Callable[[], Bytes] | None = None
        name = matrix.attribute
        self._users: list[Any] = [module for module in model.modules() if getattr(module, name, None) is self.dense]
        self._lazy = lazy
        self._make: MakeWeight | None = None
        self._make_pruned: MakeWeight | None = None
        self._pruned = self._copy = self.dense

    def is_new(self, kind: str) -> bool:
        """Return whether ``kind`` is a quantised type, and not the type of the source."""
        return kind not in {DENSE, self.source.kind if self.source else DENSE}

    @property
    def pruned_values(self) -> torch.Tensor:
        """The weight without types, loaded or pruned."""
        return self._make_pruned(None) if self._make_pruned else self._pruned

    def swap_out(self) -> None:
        """Put back the weight without types."""
        if self.matrix.weight is self._copy:
            self._put(self._pruned, self._make_pruned)

    def swap_in(self, kind: str, quantise: Callable[[torch.Tensor], Quantised]) -> None:
        """Replace the weight by its copy in ``kind``, which ``quantise`` makes if type or weight have changed."""
        weight = self.matrix.weight
        self._make_pruned = maker_of(self.matrix.module, self.matrix.attribute)
        if kind != self.kind or weight is not self._pruned:
            self.kind, self._make, self.data = DENSE, None, None  # until quantising has not failed
            self._copy = self._pruned = weight  # frees the copy before
            if kind != DENSE:
                make, data = quantise(weight)
                if make and not self._lazy:
                    self._copy = nn.Parameter(in_own_pages(make(None)), requires_grad=False)
                self.kind, self._make, self.data = kind, make, data
        self._put(self._copy, self._make or self._make_pruned)

    def _put(self, weight: Any, make: MakeWeight | None) -> None:
        name = self.matrix.attribute
        for module in self._users:
            if self._lazy:
                make_lazy(module, make, name)
            if getattr(module, name) is not weight:
                setattr(module, name, weight)


Chosen = Sequence[tuple[QuantisedCopy, str]]
"""Copies, each with its type."""


class Copies:
    """Quantised copies of ``matrices`` in the model of ``resident``.

    ``encodings``: of the dense matrices; ``source``: matrices that are quantised in the model's source, by name. In the
    source's type, their rows keep their bytes.
    """

    def __init__(
        self, resident: Resident, matrices: Sequence[Matrix], encodings: Encodings, source: Mapping[str, GgmlMatrix]
    ) -> None:
        self._model, self._encodings = resident.model, encodings
        self.copies = [
            QuantisedCopy(self._model, matrix, resident.streams, source.get(matrix.name)) for matrix in matrices
        ]
        self._recent: LRUCache[Any, Bytes] = LRUCache(RECENT_BYTES, lambda data: min(RECENT_BYTES, data.nbytes))

    def swap_out(self) -> None:
        for copy in self.copies:
            copy.swap_out()

    @torch.no_grad()
    def swap_in(self, chosen: Chosen, kept: KeptIndices, blank: bool) -> None:
        """Replace the weight of each matrix that the model has now by its copy in the ``chosen`` type.

        ``blank``: with bytes of 0, which suffice for a file that is timed.
        """
        modules = set(self._model.modules())
        chosen = [(copy, kind if copy.matrix.module in modules else DENSE) for copy, kind in chosen]
        if not blank:
            dense = [(copy, kind) for copy, kind in chosen if copy.matrix.weight is copy.dense]
            self._encodings.make((copy.matrix, copy.dense, kind) for copy, kind in dense if copy.is_new(kind))
        for copy, kind in chosen:
            copy.swap_in(kind, partial(self._copy_of, copy, kind, kept, blank))

    def fingerprints(self, blocks: int) -> Sequence[Hashable]:
        """Return the types of the matrices of each of the first ``blocks``."""
        kinds: list[list[str]] = [[] for _ in range(blocks)]
        for copy in self.copies:
            if copy.matrix.block < blocks:
                kinds[copy.matrix.block].append(copy.kind)
        return [tuple(of_block) for of_block in kinds]

    def encoded(self) -> Mapping[str, Encoded]:
        """Return the matrices that are quantised now, by the names of their parameters."""
        return _LazyEncoded({each.matrix.parameter: (each.kind, each.data) for each in self.copies if each.data})

    @torch.no_grad()
    def encode(self, model: Any, chosen: Chosen, kept: KeptIndices) -> Mapping[str, Encoded]:
        """Quantise the matrices of another ``model``, with the importance of the inputs of the dense model."""
        parameters, quantised = dict(model.named_parameters(remove_duplicate=False)), {}
        for copy, kind in chosen:
            matrix = copy.matrix
            if kind == DENSE or matrix.parameter not in parameters:
                continue
            weight = parameters[matrix.parameter]
            data = _rows_of_source(copy, kind, weight, kept.rows.get(matrix.name))
            if data is None:
                data = self._quantise(matrix, weight, kind, kept)
                weight.copy_(GgmlMatrix(kind, data).values(matrix, weight))
            quantised[matrix.parameter] = GgmlMatrix(kind, data)
        return quantised

    def _copy_of(
        self, copy: QuantisedCopy, kind: str, kept: KeptIndices, blank: bool, weight: torch.Tensor
    ) -> Quantised:
        matrix = copy.matrix
        rows = None if weight is copy.dense else kept.rows.get(matrix.name)
        if blank:
            count, width = matrix.rows(weight).shape
            return None, lambda: np.zeros((count, ggml.row_bytes(kind, width)), np.uint8)
        if (weight is copy.dense or rows is not None) and copy.is_new(kind):
            data = partial(self._rows_of_dense, copy, kind, rows)
        elif (stored := _rows_of_source(copy, kind, values := copy.pruned_values, rows)) is not None:
            return None, lambda: stored
        else:
            key = matrix.name, kind, sha256_of({"": values})
            if (recent := self._recent.get(key)) is None:
                recent = self._recent[key] = self._quantise(matrix, values, kind, kept)
            data = partial(np.asarray, recent)  # holds it when it is evicted
        return lambda chosen: GgmlMatrix(kind, data()).values(matrix, weight, chosen), data

    def _rows_of_dense(self, copy: QuantisedCopy, kind: str, rows: torch.Tensor | None) -> Bytes:
        data = self._encodings(copy.matrix, copy.dense, kind)
        return data if rows is None else data[rows.numpy()]

    def _quantise(self, matrix: Matrix, weight: torch.Tensor, kind: str, kept: KeptIndices) -> Bytes:
        of_inputs = self._importance(matrix, kept)
        importance = {} if of_inputs is None else {matrix.name: of_inputs}
        return quantise([(matrix, weight, kind)], importance, Placement(torch.device("cpu"), resident=True))[0]

    def _importance(self, matrix: Matrix, kept: KeptIndices) -> torch.Tensor | None:
        importance = self._encodings.importance.get(matrix.name)
        if importance is None:
            return None
        inputs, rows = kept.inputs.get(matrix.name), kept.rows.get(matrix.name)
        if rows is not None and importance.dim() > 1:  # of the remaining experts
            importance = importance[rows[:: matrix.outputs] // matrix.outputs]
        return importance if inputs is None else importance[..., inputs.cpu()]


def _rows_of_source(copy: QuantisedCopy, kind: str, weight: torch.Tensor, rows: torch.Tensor | None) -> Bytes | None:
    """Return the bytes of ``weight`` in the source, if its type is ``kind`` and has all rows; else None.

    ``rows``: the indices of the rows of ``weight`` in the dense one, if known.
    """
    matrix, source = copy.matrix, copy.source
    if source is None or source.kind != kind:
        return None
    dense = matrix.rows(copy.dense)
    if rows is not None:
        dense, source = dense[rows], source.with_data(source.data[rows.numpy()])
    return stored_rows(source, dense, matrix.rows(weight))


class _LazyEncoded(Mapping[str, Encoded]):
    """Matrices by the names of their parameters; bytes are made on access, since all may not fit into memory."""

    def __init__(self, matrices: Mapping[str, tuple[str, Callable[[], Bytes]]]) -> None:
        self._matrices = matrices

    def __getitem__(self, name: str) -> Encoded:
        kind, data = self._matrices[name]
        return GgmlMatrix(kind, data())

    def __iter__(self) -> Iterator[str]:
        return iter(self._matrices)

    def __len__(self) -> int:
        return len(self._matrices)
