"""Copies of a model's matrices in types: as they were loaded, rows of the source, and quantised after a cut."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache
from torch import nn

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Bytes, Encoded
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.late import Make, make_late, maker_of
from evoprune.problems.language_model.models.memory import Room, in_own_pages
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.tensor_file import sha256_of
from evoprune.problems.language_model.transforms.gguf_types.encodings import Encodings, encoded, values_of
from evoprune.problems.language_model.transforms.gguf_types.matrices import DENSE
from evoprune.problems.language_model.transforms.gguf_types.source import rows_taken
from evoprune.problems.language_model.transforms.transform import RECENT_BYTES, Remaining

Made = tuple[Make | None, Callable[[], Bytes]]
"""Makes the values of a matrix, None if it has them already; and returns the bytes in a file."""


class TypedMatrix:
    """``matrix``, and its quantised copy in the model: none at first. ``kind``: its type; ``data``: bytes in a file.

    ``late``: its values are made whenever its layer runs, as the values beneath, of a cut, may be.
    """

    def __init__(self, model: Any, matrix: Matrix, late: bool) -> None:
        self.matrix = matrix
        self.whole: Any = matrix.weight
        """The weight as it was loaded."""
        self.shape: tuple[int, ...] = tuple(matrix.rows(self.whole).shape)
        """The shape as it was loaded, rows first."""
        self.kind = DENSE
        self.data: Callable[[], Bytes] | None = None
        own = matrix.attribute
        self._users: list[Any] = [each for each in model.modules() if getattr(each, own, None) is self.whole]
        self._late = late
        self._make: Make | None = None
        self._make_beneath: Make | None = None
        self._beneath = self._above = self.whole

    @property
    def values_beneath(self) -> torch.Tensor:
        """The weight that cuts leave, as it was loaded or made."""
        return self._make_beneath(None) if self._make_beneath else self._beneath

    def lift(self) -> None:
        """Put back the weight that cuts leave."""
        if self.matrix.weight is self._above:
            self._put(self._beneath, self._make_beneath)

    def lay(self, kind: str, make: Callable[[torch.Tensor], Made]) -> None:
        """Replace the weight that cuts leave by its copy in ``kind``; ``make``: the copy of a weight.

        It is made where the type, or the weight beneath, is another than before.
        """
        beneath = self.matrix.weight
        self._make_beneath = maker_of(self.matrix.module, self.matrix.attribute)
        if kind != self.kind or beneath is not self._beneath:
            self.kind, self._make, self.data = DENSE, None, None  # until quantising has not failed
            self._above = self._beneath = beneath  # frees the copy before
            if kind != DENSE:
                make_values, data = make(beneath)
                if make_values and not self._late:
                    self._above = nn.Parameter(in_own_pages(make_values(None)), requires_grad=False)
                self.kind, self._make, self.data = kind, make_values, data
        self._put(self._above, self._make or self._make_beneath)

    def _put(self, weight: Any, make: Make | None) -> None:
        own = self.matrix.attribute
        for module in self._users:
            if self._late:
                make_late(module, make, own)
            if getattr(module, own) is not weight:
                setattr(module, own, weight)


class Copies:
    """The copies of ``matrices`` in the model of ``resident``.

    ``encodings``: of matrices as they were loaded; ``source``: the matrices that the source holds in a quantised type,
    by name, whose rows keep their bytes.
    """

    def __init__(
        self, resident: Resident, matrices: Sequence[Matrix], encodings: Encodings, source: Mapping[str, Encoded]
    ) -> None:
        self._model, self._encodings, self._source = resident.model, encodings, source
        self.typed = [TypedMatrix(self._model, matrix, resident.streams) for matrix in matrices]
        self._recent: LRUCache[Any, Bytes] = LRUCache(RECENT_BYTES, lambda data: min(RECENT_BYTES, data.nbytes))

    def lift(self) -> None:
        for typed in self.typed:
            typed.lift()

    @torch.no_grad()
    def lay(self, kinds: Sequence[str], remaining: Remaining, blank: bool) -> None:
        """Replace each matrix that is there, as cuts leave it, by its copy in its one of ``kinds``.

        ``blank``: bytes of 0 will do, as for a file that is timed.
        """
        there = set(self._model.modules())
        chosen = [
            (typed, kind if typed.matrix.module in there else DENSE)
            for typed, kind in zip(self.typed, kinds, strict=True)
        ]
        if not blank:
            whole = [(typed, kind) for typed, kind in chosen if typed.matrix.weight is typed.whole]
            self._encodings.make((typed.matrix, typed.whole, kind) for typed, kind in whole if self._anew(typed, kind))
        for typed, kind in chosen:
            typed.lay(kind, partial(self._in_type, typed, kind, remaining, blank))

    def _anew(self, typed: TypedMatrix, kind: str) -> bool:
        """Return whether ``kind`` is a quantised type, and not that of the source."""
        own = self._source.get(typed.matrix.name)
        return kind not in {DENSE, own.kind if own else DENSE}

    def fingerprints(self, blocks: int) -> Sequence[Hashable]:
        """Equal for two states if the matrices of that block, of so many ``blocks``, are in the same types."""
        kinds: list[list[str]] = [[] for _ in range(blocks)]
        for typed in self.typed:
            if typed.matrix.block < blocks:
                kinds[typed.matrix.block].append(typed.kind)
        return [tuple(of_block) for of_block in kinds]

    def encoded(self) -> Mapping[str, Encoded]:
        """The matrices that are in a quantised type now, by the names of their parameters."""
        return _Encoded({each.matrix.parameter: (each.kind, each.data) for each in self.typed if each.data})

    @torch.no_grad()
    def encode(self, model: Any, kinds: Sequence[str], remaining: Remaining) -> Mapping[str, Encoded]:
        """Quantise the matrices of another ``model``, with the importance of the inputs of the dense one."""
        parameters, made = dict(model.named_parameters(remove_duplicate=False)), {}
        for typed, kind in zip(self.typed, kinds, strict=True):
            matrix = typed.matrix
            if kind == DENSE or matrix.parameter not in parameters:
                continue
            weight = parameters[matrix.parameter]
            data = self._rows_of_source(typed, kind, weight, remaining.rows.get(matrix.name))
            if data is None:
                data = self._encoded(typed, weight, kind, remaining)
                weight.copy_(values_of(matrix, weight, kind, data))
            made[matrix.parameter] = Encoded(kind, data)
        return made

    def _in_type(self, typed: TypedMatrix, kind: str, remaining: Remaining, blank: bool, weight: torch.Tensor) -> Made:
        matrix = typed.matrix
        rows = None if weight is typed.whole else remaining.rows.get(matrix.name)
        if blank:
            count, width = matrix.rows(weight).shape
            return None, lambda: np.zeros((count, ggml.row_bytes(kind, width)), np.uint8)
        if (weight is typed.whole or rows is not None) and self._anew(typed, kind):
            data = partial(self._rows_of_dense, typed, kind, rows)
        elif (taken := self._rows_of_source(typed, kind, values := typed.values_beneath, rows)) is not None:
            return None, lambda: taken
        else:
            known = matrix.name, kind, sha256_of({"": values})
            if known not in self._recent:
                self._recent[known] = self._encoded(typed, values, kind, remaining)
            data = partial(np.asarray, self._recent[known])
        return lambda chosen: values_of(matrix, weight, kind, data(), chosen), data

    def _rows_of_dense(self, typed: TypedMatrix, kind: str, rows: torch.Tensor | None) -> Bytes:
        whole = self._encodings(typed.matrix, typed.whole, kind)
        return whole if rows is None else whole[rows.numpy()]

    def _encoded(self, typed: TypedMatrix, weight: torch.Tensor, kind: str, remaining: Remaining) -> Bytes:
        weighed = self._weighed(typed.matrix, remaining)
        importance = {} if weighed is None else {typed.matrix.name: weighed}
        return encoded([(typed.matrix, weight, kind)], importance, Room(torch.device("cpu"), resident=True))[0]

    def _rows_of_source(
        self, typed: TypedMatrix, kind: str, weight: torch.Tensor, rows: torch.Tensor | None
    ) -> Bytes | None:
        """The bytes of ``weight`` in the source, if all its rows, which may be known, are there in ``kind``."""
        matrix, own = typed.matrix, self._source.get(typed.matrix.name)
        if own is None or own.kind != kind:
            return None
        whole = matrix.rows(typed.whole)
        if rows is not None:
            whole, own = whole[rows], Encoded(kind, own.data[rows.numpy()])
        return rows_taken(own, whole, matrix.rows(weight))

    def _weighed(self, matrix: Matrix, remaining: Remaining) -> torch.Tensor | None:
        importance = self._encodings.importance.get(matrix.name)
        if importance is None:
            return None
        kept, rows = remaining.inputs.get(matrix.name), remaining.rows.get(matrix.name)
        if rows is not None and importance.dim() > 1:  # of the experts that are left
            importance = importance[rows[:: matrix.outputs] // matrix.outputs]
        return importance if kept is None else importance[..., kept.cpu()]


class _Encoded(Mapping[str, Encoded]):
    """Matrices by the names of their parameters, whose bytes are made when asked for: all may not fit into memory."""

    def __init__(self, made: Mapping[str, tuple[str, Callable[[], Bytes]]]) -> None:
        self._made = made

    def __getitem__(self, name: str) -> Encoded:
        kind, data = self._made[name]
        return Encoded(kind, data())

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)
