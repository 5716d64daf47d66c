"""Each matrix in each type that is worth having: quantised once, and kept as values that can be copied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from evoprune import steps
from problems.language_model.gguf import ggml
from problems.language_model.kept import Tensors
from problems.language_model.model.blocks import Matrix

DENSE = "16 bits"
"""The name of the level that changes nothing: a file holds such a matrix in 16 bits."""

VALUES, DATA, ERROR = "values", "data", "error"
"""What is stored of a matrix in a type: its values, as the layer stores them; what a file holds; the relative error."""

IMPORTANCE = "importance"
"""What is stored of a matrix besides, under :data:`DENSE`: see :func:`quantised`."""

_EXACT = 1e-6
"""The relative squared error of a type that reproduces a matrix: that of 16-bit scales is 1e-7, of 8 bits 5e-5."""


def key(what: str, kind: str, matrix: Matrix) -> str:
    """The name of a stored tensor."""
    return f"{what} {kind}: {matrix.name}"


@dataclass(frozen=True)
class Form:
    """A matrix quantised to ``kind``. ``error``: the weighted squared error, as a share of the weighted squares."""

    kind: str
    data: ggml.Bytes
    values: ggml.Floats
    error: float

    @property
    def exact(self) -> bool:
        """Whether the matrix was on this type's grid before, as that of a quantised source."""
        return self.error < _EXACT


def quantised(
    matrices: Sequence[Matrix], importance: Mapping[str, torch.Tensor], kinds: Sequence[str], exact: bool
) -> Tensors:
    """Each of ``matrices`` in each of ``kinds`` that its width allows and that is not dominated.

    ``importance``: of the inputs of a matrix by its name, float32 ``(in,)``. ``exact``: whether types stay that
    reproduce a matrix.
    """
    stored: Tensors = {}

    def forms(matrix: Matrix) -> list[Form]:
        weights = _rows(matrix, matrix.weight)
        weighed = importance[matrix.name].cpu().numpy() if matrix.name in importance else None
        found = [_form(weights, kind, weighed) for kind in kinds if ggml.fits(kind, weights.shape[1])]
        return _efficient(form for form in found if exact or not form.exact)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # ggml runs without the interpreter's lock
        made = steps(pool.map(forms, matrices), "quantising", "tensor", len(matrices))
        for matrix, found in zip(matrices, made, strict=True):
            if matrix.name in importance:
                stored[key(IMPORTANCE, DENSE, matrix)] = importance[matrix.name]
            for form in found:
                stored[key(VALUES, form.kind, matrix)] = _values(matrix, matrix.weight, form.values)
                stored[key(DATA, form.kind, matrix)] = torch.from_numpy(form.data)
                stored[key(ERROR, form.kind, matrix)] = torch.tensor(form.error, dtype=torch.float64)
    return stored


def quantised_anew(
    matrix: Matrix, weight: torch.Tensor, kind: str, importance: torch.Tensor | None
) -> tuple[torch.Tensor, ggml.Bytes]:
    """Other weights of ``matrix``, in its layout, in ``kind``: the values in that layout, and what a file holds.

    ``importance``: of its inputs, float32 ``(in,)``.
    """
    rows = _rows(matrix, weight)
    data = ggml.quantize(rows, kind, None if importance is None else importance.cpu().numpy())
    return _values(matrix, weight, ggml.dequantize(data, kind, rows.shape[1])), data


def levels(matrix: Matrix, stored: Mapping[str, torch.Tensor], kinds: Iterable[str]) -> list[str]:
    """The levels of ``matrix``: dense, and those of ``kinds`` that are stored, from more to fewer bytes."""
    there = [kind for kind in kinds if key(DATA, kind, matrix) in stored]
    return [DENSE, *sorted(there, key=lambda kind: stored[key(DATA, kind, matrix)].numel(), reverse=True)]


def errors(matrix: Matrix, stored: Mapping[str, torch.Tensor], kinds: Iterable[str]) -> list[float]:
    """The relative error of ``matrix`` in each of ``kinds``, its levels: that of dense is 0. Empty if all are exact."""
    found = [0.0 if kind == DENSE else float(stored[key(ERROR, kind, matrix)]) for kind in kinds]
    return found if max(found) > 0 else []


def is_exact(matrix: Matrix, stored: Mapping[str, torch.Tensor], kind: str) -> bool:
    """Whether ``kind``, not dense, reproduces ``matrix``."""
    return kind != DENSE and float(stored[key(ERROR, kind, matrix)]) < _EXACT


def _rows(matrix: Matrix, weight: torch.Tensor) -> ggml.Floats:
    return matrix.rows(weight.detach()).float().cpu().numpy()


def _values(matrix: Matrix, weight: torch.Tensor, rows: ggml.Floats) -> torch.Tensor:
    """``rows`` in the layout, number format and place of ``weight``."""
    return matrix.rows(torch.from_numpy(rows)).to(weight.detach(), copy=True).contiguous()


def _form(weights: ggml.Floats, kind: str, importance: ggml.Floats | None) -> Form:
    data = ggml.quantize(weights, kind, importance)
    values = ggml.dequantize(data, kind, weights.shape[1])
    weighed = np.ones(weights.shape[1], dtype=np.float32) if importance is None else importance
    error = np.square(values - weights).sum(0, dtype=np.float64) @ weighed
    return Form(kind, data, values, float(error / max(np.square(weights).sum(0, dtype=np.float64) @ weighed, 1e-300)))


def _efficient(forms: Iterable[Form]) -> list[Form]:
    """Those of ``forms`` that no other one matches in bytes and in error; of equals the first."""
    kept: list[Form] = []
    for form in sorted(forms, key=lambda form: (form.data.nbytes, form.error)):
        if not kept or form.error < kept[-1].error:
            kept.append(form)
    return kept
