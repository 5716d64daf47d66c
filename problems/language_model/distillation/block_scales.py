"""Quantised matrices: their codes are chosen anew, then their scales and minima are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

from evoprune.console.phase import note
from evoprune.problems.language_model.calibration.statistics import GRAM, statistics
from evoprune.problems.language_model.calibration.update import compensated
from evoprune.problems.language_model.gguf.ggml import Encoded, codes_of, scales_of, with_scales
from evoprune.problems.language_model.models.blocks import Matrix, find_matrices, in_features
from evoprune.problems.language_model.models.memory import Room
from evoprune.problems.language_model.transforms.overlay import put_encoded

COMPENSATED = 8192  # tokens whose Gram matrices tell how errors of rounding are made up for

_GRAM = 40  # bytes of an entry of a Gram matrix and its factors, in float32 and float64

_RUN = 16  # the weights of a row of which the minimum has one code, in every type


class BlockScales(nn.Module):
    """Makes the weight of a matrix of the scales in its blocks, as a parametrisation of PyTorch.

    The trained parameter ``(fields, rows, blocks)`` is the relative change of each field: it begins at 0, and a field
    is ``before x (1 + change)``. The weight is that of the field rounded to float16, as it is stored; the gradient
    passes the rounding unchanged (a straight-through estimator, Bengio et al., 2013).
    """

    _before: torch.Tensor
    _units: torch.Tensor

    def __init__(self, matrix: Matrix, encoded: Encoded) -> None:
        super().__init__()
        self._encoded, self._transposed = encoded, matrix.transposed
        fields = codes_of(encoded, matrix.rows(matrix.weight).shape[1])
        self.register_buffer("_before", torch.from_numpy(scales_of(encoded)), persistent=False)
        for number, (codes, _) in enumerate(fields):
            runs = torch.from_numpy(codes).unflatten(1, (self._before.shape[-1], -1, _RUN))
            alike = bool((runs == runs[..., :1]).all())
            self.register_buffer(f"_codes_{number}", runs[..., :1].clone() if alike else runs, persistent=False)
        units = torch.tensor([unit for _, unit in fields])
        self.register_buffer("_units", units[:, None, None], persistent=False)

    def forward(self, change: torch.Tensor) -> torch.Tensor:
        """The weight, in float32 and as the layer stores it."""
        scales = self._scales(change)
        stored = scales + (scales.half().float() - scales).detach()
        codes = (getattr(self, f"_codes_{number}") for number in range(len(self._units)))
        rows = _Values.apply(stored / self._units, *codes)
        return rows.T if self._transposed else rows  # type: ignore[no-any-return]

    def right_inverse(self, _: torch.Tensor) -> torch.Tensor:
        """No change: the weight must be the one that was quantised."""
        return torch.zeros_like(self._before)

    def encoded(self, change: torch.Tensor) -> Encoded:
        """The matrix as a file holds it."""
        return with_scales(self._encoded, self._scales(change.detach()).cpu().numpy())

    def _scales(self, change: torch.Tensor) -> torch.Tensor:
        return self._before * (1 + change)


class _Values(torch.autograd.Function):
    """Multiplies codes by scales; keeps whole numbers for the backward pass, a quarter of the memory of weights."""

    @staticmethod
    def forward(ctx: Any, scales: torch.Tensor, *codes: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*codes)
        values, *minima = (scale[..., None, None] * own for scale, own in zip(scales, codes, strict=True))
        for each in minima:
            values = values + each
        rows: torch.Tensor = values.expand(*values.shape[:-1], _RUN).flatten(1)
        return rows

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        codes = ctx.saved_tensors
        runs = upstream.unflatten(1, (*codes[0].shape[1:-1], _RUN))
        found = [
            (runs.sum(-1, keepdim=True) * own if own.shape[-1] == 1 else runs * own).sum((-2, -1)) for own in codes
        ]
        return torch.stack(found), *(None for _ in codes)


def train_scales(matrix: Matrix, encoded: Encoded) -> None:
    """Make the weight of ``matrix``, now the values of ``encoded``, depend on scales that can be trained."""
    module: Any = matrix.module
    register_parametrization(module, "weight", BlockScales(matrix, encoded).to(matrix.weight.device), unsafe=True)
    module.parametrizations.weight.original.requires_grad_(True)


def is_change(name: str) -> bool:
    """Tell whether the parameter called ``name`` is the relative change of scales."""
    return name.endswith(".parametrizations.weight.original")


def fix_scales(matrix: Matrix, room: Room) -> Encoded:
    """End :func:`train_scales`: round the weight, in ``room``, and return it as a file holds it."""
    parametrised: Any = matrix.module
    chain = parametrised.parametrizations.weight
    found: Encoded = chain[0].encoded(chain.original)
    remove_parametrizations(parametrised, "weight", leave_parametrized=True)
    matrix.weight.data = room.empty(matrix.weight.shape, matrix.weight.dtype).to(matrix.weight.device)
    put_encoded(matrix, found)
    matrix.weight.requires_grad_(False)
    return found


def compensate(
    dense: Any, encoded: Mapping[str, Encoded], tokens: torch.Tensor, loss: Callable[[Any], float], model: Any,
    before: float,
) -> Mapping[str, Encoded]:  # fmt: skip
    """Round the matrices of ``model`` to their types again, by statistics of the ``dense`` one on some ``tokens``.

    Matrices that already have the values of the dense ones stay, and all do if the ``loss`` is not below that of
    ``before``: there may be too few tokens for long rows.
    """
    read = tokens[: max(1, COMPENSATED // tokens.shape[1])]
    there, found = {matrix.parameter: matrix for matrix in find_matrices(model)}, dict(encoded)
    wanted = [matrix for matrix in find_matrices(dense) if matrix.parameter in encoded]
    changed = {m.parameter for m in wanted if not torch.equal(m.weight, there[m.parameter].weight.to(m.weight))}
    if not changed:
        return encoded
    if not Room.of("codes", dense.device, _GRAM * max(in_features(m.module) for m in wanted) ** 2, share=1).resident:
        note("matrices keep their codes: Gram matrices, which tell others, have no room in memory")
        return encoded
    for matrix, known in statistics(dense, read, wanted, {GRAM}, "compensating"):
        if matrix.parameter not in changed:
            continue
        kind, gram = encoded[matrix.parameter].kind, known[GRAM]
        data = compensated(matrix.rows(matrix.weight.detach()), kind, gram)
        found[matrix.parameter] = Encoded(kind, data)
        put_encoded(there[matrix.parameter], found[matrix.parameter])
    if loss(model) < before:
        return found
    note("matrices keep their codes: those that make up for their errors are worse on the held-out windows")
    for name in changed:
        put_encoded(there[name], encoded[name])
    return encoded
