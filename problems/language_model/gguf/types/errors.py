"""Quantisation errors of each matrix in each type, estimated on some rows, and the Pareto-optimal types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from evoprune import Gene
from evoprune.problems.language_model.calibration.sensitivity import Factors, sensitivity
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.types.encodings import in_threads, quantise_rows, row_slices
from evoprune.problems.language_model.gguf.types.importance import CPU, cache_key
from evoprune.problems.language_model.gguf.types.matrices import DENSE
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.tensor_file import sha256_of
from evoprune.problems.language_model.texts.windows import Windows

Pair = tuple[str, str]  # the name of a matrix, and a type

Sensitivity = Mapping[str, Factors]

SAMPLED = 64
"""Rows of a matrix on which its errors are estimated, drawn in proportion to their part in the loss.

tests/benchmarks/sampled_errors.py compares the estimates with the errors of all rows.
"""

_SIDES = ("outputs", "inputs")  # names of the factors of a pair in the cache

_EXACT = 1e-6
"""The relative squared error of a type that reproduces a matrix: that of 16-bit scales is 1e-7, of 8 bits 5e-5."""


@dataclass(frozen=True)
class Errors:
    """Estimates for pairs of a matrix and a type that fits it.

    ``relative``: the squared error as a share of the squared weights, both weighted by sensitivity. ``divergences``:
    caused by the error, in nats a token; empty without a calibration text. ``importance``: of the inputs
    of matrices, by name, see :func:`.importance.measure_importance`; may be empty.
    """

    relative: Mapping[Pair, float]
    divergences: Mapping[Pair, float] = field(default_factory=dict)
    importance: Tensors = field(default_factory=dict)

    def is_exact(self, matrix: Matrix, kind: str) -> bool:
        """Return whether ``kind``, not dense, reproduces ``matrix``."""
        return kind != DENSE and self.relative[matrix.name, kind] < _EXACT

    def pareto_levels(self, matrix: Matrix, costs: Mapping[str, float]) -> list[str]:
        """Return the first type of ``costs``, and the types that are Pareto-optimal in cost and error.

        In order of decreasing cost; of equal types the first.
        """
        first, *others = costs
        kinds = [kind for kind in others if costs[kind] < costs[first]]
        kept: list[str] = []
        for kind in sorted(kinds, key=lambda kind: (costs[kind], self.relative[matrix.name, kind])):
            if not kept or self.relative[matrix.name, kind] < self.relative[matrix.name, kept[-1]]:
                kept.append(kind)
        return [first, *reversed(kept)]

    def gene(self, matrix: Matrix, levels: Sequence[str]) -> Gene:
        """Return the gene of ``matrix`` with types as ``levels``, and their costs, the first of which is 0."""
        estimates = self.divergences or self.relative
        costs = [0.0, *(estimates[matrix.name, kind] for kind in levels[1:])]
        gene = Gene.of_levels(matrix.name, levels, costs if any(costs) else [])
        return replace(gene, absolute=bool(self.divergences and gene.level_losses))

    def sizes(self, matrix: Matrix, kinds: Iterable[str], exact: bool, source: GgmlMatrix | None) -> dict[str, float]:
        """Return the bytes of ``matrix`` in each type that it may have, in decreasing order.

        The first type is the loaded one, 16 bits or the type in ``source``; then come the estimated ones of ``kinds``,
        with types that reproduce the matrix only if ``exact`` is true.
        """
        rows, width = matrix.rows(matrix.weight).shape
        estimated = [kind for kind in kinds if (matrix.name, kind) in self.relative]
        allowed = [kind for kind in estimated if exact or not self.is_exact(matrix, kind)]
        sizes = {kind: float(rows * ggml.row_bytes(kind, width)) for kind in allowed}
        first = {source.kind: float(source.data.nbytes)} if source else {DENSE: 2.0 * matrix.weight.numel()}
        return first | dict(sorted(sizes.items(), key=lambda each: -each[1]))

    def unused_experts(self, matrix: Matrix) -> int:
        """Return the number of experts stacked in ``matrix`` that no token of the calibration text chose."""
        importance = self.importance.get(matrix.name)
        return 0 if importance is None or importance.dim() == 1 else int((importance == 1).all(1).sum())


def cached_errors(
    resident: Resident, matrices: Sequence[Matrix], chosen: Mapping[str, Sequence[Matrix]], importance: Tensors,
    calibration: Windows | None,
) -> Errors:  # fmt: skip
    """Estimate the errors of the matrices ``chosen`` for each type, among all ``matrices``; cached by type.

    ``importance``: of inputs, by matrix. ``calibration``: the text for divergences; None for none.
    """
    importance_hash = sha256_of(importance)
    factors = cache(lambda: _cached_sensitivity(resident, calibration, matrices))
    samples: dict[str, Sample] = {}
    relative: dict[Pair, float] = {}
    divergences: dict[Pair, float] = {}
    for kind, members in chosen.items():

        def build(kind: str = kind, members: Sequence[Matrix] = members) -> Tensors:
            new = [matrix for matrix in members if matrix.name not in samples]
            samples.update(zip((matrix.name for matrix in new), draw_samples(new, factors()), strict=True))
            return estimate_errors([(matrix, samples[matrix.name]) for matrix in members], importance, kind)

        key = [*cache_key(calibration), importance_hash, *(matrix.name for matrix in members)]
        errors = cached(resident, f"errors of matrices in {kind}", key, build, CPU)
        pairs = [(matrix.name, kind) for matrix in members]
        relative |= zip(pairs, errors["relative"].tolist(), strict=True)
        if calibration is not None:
            divergences |= zip(pairs, errors["divergences"].tolist(), strict=True)
    names = {matrix.name for matrix in matrices}
    return Errors(relative, divergences, {name: own for name, own in importance.items() if name in names})


@dataclass(frozen=True)
class Sample:
    """Some ``rows`` of a matrix, with the share of each in the estimate of the relative error.

    ``sizes``: the sum of squared weights of each row, weighted by ``factors``; ``total``: of all rows of the matrix.
    """

    rows: NDArray[np.int64]
    shares: NDArray[np.float64]
    sizes: NDArray[np.float64]
    total: float
    factors: Factors


def draw_samples(matrices: Sequence[Matrix], sensitive: Sensitivity, count: int = SAMPLED) -> list[Sample]:
    """Draw ``count`` rows of each of ``matrices``, or all of a smaller one, in proportion to their weighted squares.

    Systematic sampling (Madow, "On the theory of systematic sampling, II", 1949). The error is nearly the same share of
    the squares in all rows, so that a few rows suffice to estimate the sum (Hansen and Hurwitz, 1943).
    """
    sizes: dict[str, list[NDArray[np.float64]]] = {}
    parts = [(matrix, part) for matrix in matrices for part in row_slices(matrix)]
    factors = {matrix.name: _factors(matrix, sensitive) for matrix in matrices}

    def row_sizes(part: tuple[Matrix, slice]) -> NDArray[np.float64]:
        matrix, rows = part
        weights = matrix.rows(matrix.weight.detach())[rows].float().cpu().numpy()
        return _squares(weights, factors[matrix.name], np.arange(rows.start, rows.stop))

    for (matrix, _), part in zip(parts, in_threads(row_sizes, parts, "choosing rows to quantise"), strict=True):
        sizes.setdefault(matrix.name, []).append(part)
    return [_draw(np.concatenate(sizes[name]), factors[name], count) for name in factors]


def _draw(sizes: NDArray[np.float64], factors: Factors, count: int) -> Sample:
    total = float(sizes.sum())
    if len(sizes) <= count or total == 0:
        rows = np.arange(min(len(sizes), count))
        shares = sizes[rows] / max(total, 1e-300)
        return Sample(rows, shares, sizes[rows], total, factors)
    steps_of_total = (np.arange(count) + 0.5) / count
    drawn = np.searchsorted(np.cumsum(sizes) / total, steps_of_total).clip(max=len(sizes) - 1)
    rows, times = np.unique(drawn, return_counts=True)
    return Sample(rows, times / count, sizes[rows], total, factors)


def estimate_errors(samples: Sequence[tuple[Matrix, Sample]], importance: Tensors, kind: str) -> Tensors:
    """Estimate the errors of matrices in ``kind``: ``relative`` and ``divergences``, float64 ``(matrices,)``.

    ``importance``: of the inputs of matrices, by name.
    """

    def relative(each: tuple[Matrix, Sample]) -> float:
        matrix, sample = each
        weights = matrix.rows(matrix.weight.detach())[torch.from_numpy(sample.rows)].float().cpu().numpy()
        count = len(matrix.rows(matrix.weight))
        data = quantise_rows(weights, kind, importance.get(matrix.name), sample.rows, count)
        change = ggml.dequantize(data, kind, weights.shape[1]) - weights
        errors = _squares(change, sample.factors, sample.rows)
        return float((sample.shares * errors / np.maximum(sample.sizes, 1e-300)).sum())

    errors = torch.tensor([*in_threads(relative, samples, f"quantising rows to {kind}")], dtype=torch.float64)
    totals = torch.tensor([sample.total for _, sample in samples], dtype=torch.float64)
    return {"relative": errors, "divergences": errors * totals / 2}


def _factors(matrix: Matrix, sensitive: Sensitivity) -> Factors:
    rows, width = matrix.rows(matrix.weight).shape
    return sensitive.get(matrix.name) or [(torch.ones(rows), torch.ones(width))]


def _squares(values: ggml.Floats, factors: Factors, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sums of squares of rows of ``values``, weighted by ``factors``; ``rows``: their indices."""
    squares, sums = np.square(values), np.zeros(len(rows))
    for outputs, inputs in factors:
        of_inputs = inputs.numpy()
        if of_inputs.ndim > 1:  # of experts
            of_inputs = of_inputs[rows * len(of_inputs) // len(outputs)]
        sums += outputs.numpy()[rows] * (squares * of_inputs).sum(1, dtype=np.float64)
    return sums


def _cached_sensitivity(resident: Resident, calibration: Windows | None, matrices: Sequence[Matrix]) -> Sensitivity:
    """As :func:`sensitivity`, on the text ``calibration``, cached; empty without a text."""
    if calibration is None:
        return {}

    def build() -> Tensors:
        """Stack the pairs of each matrix."""
        factors = sensitivity(resident.model, calibration.tokens, matrices)
        sides = {name: [torch.stack(side) for side in zip(*pairs, strict=True)] for name, pairs in factors.items()}
        return {f"{side} {name}": each for name, own in sides.items() for side, each in zip(_SIDES, own, strict=False)}

    flat = cached(resident, "sensitivity of matrices", cache_key(calibration), build, CPU)
    names = [matrix.name for matrix in matrices if f"{_SIDES[0]} {matrix.name}" in flat]
    return {name: [*zip(*(flat[f"{side} {name}"] for side in _SIDES), strict=True)] for name in names}
