"""Each matrix in each type: quantised once, kept for all processes and runs, and compared in bytes and in error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch

from evoprune.console.phase import steps
from evoprune.problems.language_model import gguf
from evoprune.problems.language_model.calibration.sensitivity import Factors, sensitivity
from evoprune.problems.language_model.calibration.statistics import INPUT_NORMS, as_importance, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, code, shared
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms import gguf_types
from evoprune.problems.language_model.transforms.gguf_types.matrices import DENSE

DATA, ERROR, HARM = "data", "error", "harm"
"""Stored of a matrix in a type: the bytes in a file, the relative squared error, and the divergence that it makes.

Without a calibration text the latter is not known, and not stored.
"""

Sensitivity = Mapping[str, Factors]

Made = TypeVar("Made")

_SIDES = ("outputs", "inputs")  # of a pair of factors, as they are named in the cache

IMPORTANCE = "importance"  # stored of a matrix besides, under DENSE: see quantised

_EXACT = 1e-6
"""The relative squared error of a type that reproduces a matrix: that of 16-bit scales is 1e-7, of 8 bits 5e-5."""

_CPU = torch.device("cpu")  # all types of a model take some times its memory

_PART = 2**29  # weights in a file of the cache, about

_SLICE = 2**22
"""Weights that a thread quantises at once, in some float32 copies: an embedding may have a billion."""


def key(what: str, kind: str, matrix: Matrix) -> str:
    """The name of a stored tensor."""
    return f"{what} {kind}: {matrix.name}"


def stored_types(
    resident: Resident, matrices: Sequence[Matrix], chosen: Mapping[str, Sequence[Matrix]], calibration: Windows | None
) -> Tensors:
    """Return the tensors of :func:`quantised` for the matrices ``chosen`` for each type; on the CPU.

    ``calibration``: the text that gives inputs their importance; None for none.
    """
    known = cache(lambda: (importance_on(resident, calibration), _sensitivity_on(resident, calibration, matrices)))
    stored: Tensors = {}
    for kind, matrices_of_kind in chosen.items():
        for own in _parts(matrices_of_kind):
            stored |= shared(
                resident,
                f"matrices in {kind}",
                [*_what(calibration), *(matrix.name for matrix in own)],
                lambda kind=kind, own=own: quantised(own, known()[0], kind, known()[1]),  # type: ignore[misc]
                _CPU,
            )
    return stored


def _parts(matrices: Sequence[Matrix]) -> list[list[Matrix]]:
    """Split ``matrices`` into parts: one part in a type is in memory at a time, before it is written."""
    parts: dict[int, list[Matrix]] = {}
    weights = 0
    for matrix in matrices:
        weights += matrix.size
        parts.setdefault(weights // _PART, []).append(matrix)
    return [*parts.values()]


def importance_on(resident: Resident, calibration: Windows | None) -> Tensors:
    """As :func:`importance_of`, on the text ``calibration``: cached, as other runs may have other types.

    None: no importance.
    """
    if calibration is None:
        return {}
    made = partial(importance_of, resident, calibration.tokens)
    return shared(resident, "importance of inputs", _what(calibration), made, _CPU)


def _sensitivity_on(resident: Resident, calibration: Windows | None, matrices: Sequence[Matrix]) -> Sensitivity:
    """As :func:`sensitivity`, on the text ``calibration``: cached too. None: not known."""
    if calibration is None:
        return {}

    def made() -> Tensors:
        """The pairs of a matrix, one below the other."""
        found = sensitivity(resident.model, calibration.tokens, matrices)
        sides = {name: [torch.stack(side) for side in zip(*pairs, strict=True)] for name, pairs in found.items()}
        return {f"{side} {name}": each for name, own in sides.items() for side, each in zip(_SIDES, own, strict=False)}

    flat = shared(resident, "sensitivity of matrices", _what(calibration), made, _CPU)
    names = [matrix.name for matrix in matrices if f"{_SIDES[0]} {matrix.name}" in flat]
    return {name: [*zip(*(flat[f"{side} {name}"] for side in _SIDES), strict=True)] for name in names}


def _what(calibration: Windows | None) -> list[object]:
    return [code(gguf_types, gguf), ggml.version(), *([calibration.identity] if calibration else [])]


def importance_of(resident: Resident, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """The mean square of each input of the blocks' matrices on ``tokens``, by their names; float32, on the CPU.

    Of stacked ones ``(experts, in)``, over the tokens that chose an expert.
    """
    known = statistics(resident.model, tokens, resident.with_stacks, {INPUT_NORMS})
    return {matrix.name: as_importance(found[INPUT_NORMS].square() / tokens.numel()) for matrix, found in known}


def in_slices(
    chosen: Sequence[tuple[Matrix, str]], work: Callable[[Matrix, str, slice], Made], label: str
) -> Iterator[tuple[Matrix, Made]]:
    """Yield the results of ``work`` on ``chosen``, matrices and types, some rows at a time, made in all threads."""
    parts = [(matrix, kind, rows) for matrix, kind in chosen for rows in _slices(matrix)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # ggml runs without the interpreter's lock
        told = steps(pool.map(lambda part: work(*part), parts), label, "part", len(parts))
        for (matrix, _, _), made in zip(parts, told, strict=True):
            yield matrix, made


def encoded_rows(
    matrix: Matrix, kind: str, rows: slice, importance: Mapping[str, torch.Tensor]
) -> tuple[ggml.Floats, ggml.Bytes]:
    """Return ``rows`` of the weight of ``matrix``, as floats and in ``kind``; ``importance``: see :func:`quantised`."""
    weights, weighed = _rows(matrix, matrix.weight, rows), importance.get(matrix.name)
    own = None if weighed is None else of_rows(weighed, rows, len(matrix.rows(matrix.weight)))
    return weights, ggml.quantize(weights, kind, None if own is None else own.numpy())


def of_rows(weighed: torch.Tensor, rows: slice, count: int) -> torch.Tensor:
    """The weights of inputs ``(in,)`` for ``rows``, of one expert, of ``count``; ``weighed``: for all, or by expert."""
    return weighed if weighed.dim() == 1 else weighed[rows.start * len(weighed) // count]


def quantised(
    matrices: Sequence[Matrix], importance: Mapping[str, torch.Tensor], kind: str, sensitive: Sensitivity
) -> Tensors:
    """Each of ``matrices`` in ``kind`` whose width allows it; on the CPU.

    ``importance``: of the inputs of a matrix by its name, as of :func:`importance_of`; ``sensitive``: as of
    :func:`sensitivity`.
    """
    fitting = [matrix for matrix in matrices if ggml.fits(kind, matrix.rows(matrix.weight).shape[1])]

    def made(matrix: Matrix, kind: str, rows: slice) -> tuple[ggml.Bytes, ggml.Floats]:
        weights, data = encoded_rows(matrix, kind, rows, importance)
        change = ggml.dequantize(data, kind, weights.shape[1]) - weights
        even = [(torch.ones(len(matrix.rows(matrix.weight))), torch.ones(weights.shape[1]))]
        factors = sensitive.get(matrix.name) or even
        return data, np.array([_weighed_squares(each, factors, rows) for each in (change, weights)])

    made_parts: dict[str, list[tuple[ggml.Bytes, ggml.Floats]]] = {}
    for matrix, part in in_slices([(matrix, kind) for matrix in fitting], made, f"quantising to {kind}"):
        made_parts.setdefault(matrix.name, []).append(part)
    stored: Tensors = {}
    for matrix in fitting:
        parts, squares = zip(*made_parts.pop(matrix.name), strict=True)
        error, whole = np.sum(squares, axis=0)
        stored[key(DATA, kind, matrix)] = torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))
        stored[key(ERROR, kind, matrix)] = torch.tensor(error / max(whole, 1e-300), dtype=torch.float64)
        if sensitive:
            stored[key(HARM, kind, matrix)] = torch.tensor(error / 2, dtype=torch.float64)
        if matrix.name in importance:
            stored[key(IMPORTANCE, DENSE, matrix)] = importance[matrix.name]
    return stored


def stored_bytes(
    matrix: Matrix, stored: Mapping[str, torch.Tensor], kind: str, rows: torch.Tensor | None = None
) -> ggml.Bytes:
    """The bytes of ``matrix`` in ``kind``, or of its ``rows``."""
    data = stored[key(DATA, kind, matrix)]
    return (data if rows is None else data[rows]).numpy()


def encoded_anew(matrix: Matrix, weight: torch.Tensor, kind: str, importance: torch.Tensor | None) -> ggml.Bytes:
    """The bytes of another ``weight`` of ``matrix`` in ``kind``; ``importance``: of its inputs, or by expert."""
    rows = _rows(matrix, weight, slice(None))
    return ggml.quantize(rows, kind, None if importance is None else importance.cpu().numpy())


def values_of(
    matrix: Matrix, weight: torch.Tensor, kind: str, data: ggml.Bytes, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """The values of ``data`` in ``kind``, or of its ``rows``, laid out and stored like ``weight`` of ``matrix``."""
    width = matrix.rows(weight).shape[1]
    data = data if rows is None else data[rows.cpu().numpy()]
    values = torch.empty(len(data), width, dtype=weight.dtype)
    step = max(1, _SLICE // width)
    for first in range(0, len(data), step):  # a stack of experts in float32 may have no room
        values[first : first + step] = torch.from_numpy(ggml.dequantize(data[first : first + step], kind, width))
    return matrix.laid_out(values).to(weight.device).contiguous()


def sizes(
    matrix: Matrix, stored: Mapping[str, torch.Tensor], kinds: Iterable[str], exact: bool,
    source: Mapping[str, ggml.Encoded],
) -> dict[str, float]:  # fmt: skip
    """Return the bytes of ``matrix`` in each type that it may have, from more to fewer.

    First as it was loaded: in 16 bits, or in its type of ``source``; then in each stored one of ``kinds``; a type that
    reproduces the matrix only if ``exact`` allows it.
    """
    there = [kind for kind in kinds if key(DATA, kind, matrix) in stored]
    there = [kind for kind in there if exact or not is_exact(matrix, stored, kind)]
    bytes_in = {kind: float(stored[key(DATA, kind, matrix)].numel()) for kind in there}
    own = source.get(matrix.name)
    first = {own.kind: float(own.data.nbytes)} if own else {DENSE: 2.0 * matrix.weight.numel()}
    return first | dict(sorted(bytes_in.items(), key=lambda each: -each[1]))


def worth(matrix: Matrix, stored: Mapping[str, torch.Tensor], costs: Mapping[str, float]) -> list[str]:
    """The levels of ``matrix``: the first of ``costs``, and the types that no other one matches in cost and in error.

    From more to less cost; of equals the first.
    """
    first, *others = costs
    kinds = [kind for kind in others if costs[kind] < costs[first]]
    error_of = dict(zip(kinds, errors(matrix, stored, kinds), strict=True))
    kept: list[str] = []
    for kind in sorted(kinds, key=lambda kind: (costs[kind], error_of[kind])):
        if not kept or error_of[kind] < error_of[kept[-1]]:
            kept.append(kind)
    return [first, *reversed(kept)]


def harms(matrix: Matrix, stored: Mapping[str, torch.Tensor], kinds: Iterable[str]) -> list[float]:
    """The divergence that each of ``kinds`` makes, in nats a token. Empty if it is not known."""
    stored_harms = [stored.get(key(HARM, kind, matrix)) for kind in kinds]
    return [float(each) for each in stored_harms if each is not None] if None not in stored_harms else []


def errors(matrix: Matrix, stored: Mapping[str, torch.Tensor], kinds: Iterable[str]) -> list[float]:
    """The relative error of ``matrix`` in each of ``kinds``."""
    return [float(stored[key(ERROR, kind, matrix)]) for kind in kinds]


def unread_experts(matrix: Matrix, stored: Mapping[str, torch.Tensor]) -> int:
    """The number of the experts stacked in ``matrix`` that the calibration text never reached."""
    importance = stored.get(key(IMPORTANCE, DENSE, matrix))
    return 0 if importance is None or importance.dim() == 1 else int((importance == 1).all(1).sum())


def is_exact(matrix: Matrix, stored: Mapping[str, torch.Tensor], kind: str) -> bool:
    """Return whether ``kind``, not dense, reproduces ``matrix``."""
    return kind != DENSE and float(stored[key(ERROR, kind, matrix)]) < _EXACT


def _slices(matrix: Matrix) -> list[slice]:
    """The rows of ``matrix``, as many of an expert at a time as have about :data:`_SLICE` weights."""
    rows, width = matrix.rows(matrix.weight).shape
    count, alike = max(1, _SLICE // width), matrix.outputs
    starts = [start + first for start in range(0, rows, alike) for first in range(0, alike, count)]
    return [slice(first, end) for first, end in pairwise([*starts, rows])]


def _rows(matrix: Matrix, weight: torch.Tensor, rows: slice) -> ggml.Floats:
    return matrix.rows(weight.detach())[rows].float().cpu().numpy()


def _weighed_squares(values: ggml.Floats, factors: Factors, rows: slice) -> float:
    """The sum of the squares of ``values`` of ``rows``, weighed by ``factors``; the same with any threads."""
    squares, total = np.square(values), 0.0
    for outputs, inputs in factors:
        weighed = squares * outputs[rows].numpy()[:, None]
        total += float((weighed.sum(0, dtype=np.float64) * of_rows(inputs, rows, len(outputs)).numpy()).sum())
    return total
