"""The forms that a .gguf file may have weights in, learned by comparing a file with the loaded model.

Converters add 1 to the norms of some architectures, and order the rows of some matrices otherwise. Block 0 of the file
tells, in place of a table of architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.gguf_file import Tensor

Floats = NDArray[np.float32]
Order = Callable[[int], NDArray[np.intp]]
"""For a number of rows, the place in transformers of each row of a file."""

_SAMPLE = 256  # rows that are compared, at most
_DISTANCES = {1: 0.1, 2: 0.5}
"""The largest distance of tensors in the same form, by dimensions: relative; 1 - cosine, 0.1 for types of 2 bits."""


@dataclass(frozen=True)
class Form:
    """``order``: of the rows, None for that of transformers. ``added``: a number that the file has added to each."""

    order: Order | None = None
    added: float = 0.0

    def ordered(self, rows: NDArray[Any]) -> NDArray[Any]:
        """``rows``, of weights or of bytes, from the order of transformers to that of the file."""
        return np.ascontiguousarray(rows[self.order(len(rows))]) if self.order else rows

    def written(self, rows: Floats) -> Floats:
        """``rows`` of weights as the file has them."""
        ordered = self.ordered(rows)
        return ordered + np.float32(self.added) if self.added else ordered

    def loaded(self, rows: Floats) -> Floats:
        """``rows`` of the file as transformers has them."""
        plain = rows - np.float32(self.added) if self.added else rows
        return plain[np.argsort(self.order(len(rows)))] if self.order else plain


SAME = Form()


def turned(count: int, size: int) -> NDArray[np.intp]:
    """Of heads of ``size`` rows: llama.cpp rotates neighbours in Llama models, transformers the halves of a head."""
    return np.arange(count).reshape(-1, 2, size // 2).swapaxes(1, 2).ravel()


def gathered(count: int, size: int, queries: int) -> NDArray[np.intp]:
    """All queries, all keys, then all values: transformers has ``queries``, a key and a value in turn."""
    groups = np.arange(count).reshape(-1, queries + 2, size)
    return np.concatenate([part.ravel() for part in np.split(groups, [queries, queries + 1], axis=1)])


def learn(ours: Callable[[NDArray[np.intp]], Floats], theirs: Tensor, forms: Iterable[Form]) -> Form | None:
    """The one of ``forms`` that ``theirs``, a tensor of a file, is in; None if it is in another.

    ``ours``: gives rows of the parameter, by their places in transformers.
    """
    count, dimensions = theirs.shape[0], len(theirs.shape)
    sample = np.arange(count) if dimensions == 1 else np.unique(np.linspace(0, count - 1, _SAMPLE, dtype=np.intp))
    there = values(theirs)[0] if dimensions == 1 else _dequantised(theirs, sample)
    distances = {
        form: _distance(ours(form.order(count)[sample] if form.order else sample) + np.float32(form.added), there)
        for form in forms
    }
    best = min(distances, key=lambda form: distances[form])
    return best if distances[best] <= _DISTANCES[dimensions] else None


def forms_of_matrix(rows: int, size: int, heads: int) -> Iterator[Form]:
    """The forms that a matrix may be in. ``size``: of a head; ``heads``: the number of heads with queries."""
    yield SAME
    if rows % size == 0:
        yield Form(partial(turned, size=size))
        groups = (rows // size - heads) // 2
        if groups > 0 and rows == (heads + 2 * groups) * size and heads % groups == 0:
            yield Form(partial(gathered, size=size, queries=heads // groups))


def forms_of_vector(matrix: Form) -> Iterator[Form]:
    """The same for a vector. ``matrix``: the form of the same layer's matrix: a bias has that order."""
    yield matrix
    yield Form(matrix.order, added=1.0)


def values(tensor: Tensor) -> Floats:
    """All of ``tensor``, float32, in rows."""
    return _dequantised(tensor, np.arange(len(tensor.data)))


def _dequantised(tensor: Tensor, rows: NDArray[np.intp]) -> Floats:
    return ggml.dequantize(tensor.data[rows], tensor.kind, tensor.shape[-1])


def _distance(ours: Floats, theirs: Floats) -> float:
    norm = float(np.linalg.norm(theirs))
    if ours.ndim == 1:
        off = float(np.linalg.norm(ours - theirs))
        return off / norm if norm else float(off > 0)
    return 1 - float((ours * theirs).sum()) / max(norm * float(np.linalg.norm(ours)), 1e-30)
