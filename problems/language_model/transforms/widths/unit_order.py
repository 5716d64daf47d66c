"""Order of the units of a sublayer by structured OBS, and output matrices refitted to the remaining units."""

from collections.abc import Sequence
from functools import partial

import torch
from cachetools import LRUCache

import evoprune.problems.language_model.transforms as transforms
from evoprune.problems.language_model.calibration.statistics import GRAM, damped_factor, damped_inverse, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached, code
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.transform import RECENT_BYTES
from evoprune.problems.language_model.transforms.widths.units import Units

_FULL = 0.75  # share of the inputs that remain, below which the others are dropped: copies take longer than updates
_ROUNDS = 64  # in which units are removed; the units of a round are chosen by their costs at its start


class UnitOrder:
    """Orders the units of each block by structured OBS, the most important first.

    Stored tensors, by block: ``order``, the units; ``factor``, of the Gram matrix of the output matrix's inputs in this
    order; ``errors``, of the output with the first units. Without ``texts`` units are in the model's order, and nothing
    is refitted.
    """

    def __init__(self, resident: Resident, noun: str, units: Sequence[Units], texts: Texts | None) -> None:
        self._model, self._device, self._units = resident.model, resident.device, units
        self._stored = {f"order.{block}": torch.arange(one.count) for block, one in enumerate(units)}
        if texts:
            read, home = texts.calibration, torch.device("cpu")  # Gram matrices of all blocks may exceed the model
            build = partial(self._compute, read.tokens)
            self._stored = cached(resident, f"order: {noun}", [code(transforms), noun, read.identity], build, home)
        self._outputs: LRUCache[tuple[int, int], torch.Tensor] = LRUCache(
            RECENT_BYTES, lambda weight: min(RECENT_BYTES, weight.nbytes)
        )

    def remaining(self, block: int, count: int) -> torch.Tensor:
        """Return the ``count`` units of ``block`` that remain: int64, in their order in the model."""
        return self._order(block)[:count].sort().values

    def remaining_inputs(self, block: int, count: int) -> torch.Tensor:
        """Return the inputs of the output matrix of ``block`` that remain, in rising order."""
        return self._units[block].output.indices[self.remaining(block, count)].flatten().sort().values

    def refitted_output(self, block: int, count: int) -> torch.Tensor | None:
        """Return the output matrix of ``block`` for the first ``count`` units, in its layout; None without texts."""
        if f"factor.{block}" not in self._stored:
            return None
        if (block, count) not in self._outputs:
            output, factor = self._units[block].output, self._stored[f"factor.{block}"].to(self._device)
            inputs = output.indices[self._order(block)].flatten()
            dense, kept = output.matrix.rows(self._units[block].dense_output), count * output.indices.shape[1]
            weight = refit(dense[:, inputs], factor, kept)[:, inputs[:kept].argsort()]
            self._outputs[block, count] = output.matrix.rows(weight).contiguous()
        return self._outputs[block, count]

    def level_losses(self, block: int, counts: Sequence[int]) -> list[float | None]:
        """Return the output error of ``block`` with each of ``counts`` units, None for 0 units; empty if unknown."""
        errors = self._stored.get(f"errors.{block}")
        level_losses = [None if errors is None or not count else float(errors[count]) for count in counts]
        return level_losses if any(level_losses) else []

    def _order(self, block: int) -> torch.Tensor:
        return self._stored[f"order.{block}"].to(self._device)

    def _compute(self, tokens: torch.Tensor) -> Tensors:
        stored = Tensors()
        outputs = [units.output.matrix for units in self._units]
        for block, (matrix, measured) in enumerate(statistics(self._model, tokens, outputs, {GRAM})):
            weight, of_units = matrix.rows(matrix.weight), self._units[block].output.indices
            gram = measured[GRAM]
            order = obs_order(weight, gram, of_units)
            inputs = of_units[order].flatten()
            factor = damped_factor(gram[inputs][:, inputs])
            stored[f"order.{block}"] = order
            stored[f"errors.{block}"] = output_errors(weight[:, inputs], factor)[:: of_units.shape[1]].contiguous()
            stored[f"factor.{block}"] = factor.float().cpu().contiguous()
        return stored


def refit(weight: torch.Tensor, factor: torch.Tensor, kept: int) -> torch.Tensor:
    """Return the weights ``(out, kept)`` of the first ``kept`` inputs that reproduce the outputs of ``weight`` best.

    ``weight`` ``(out, in)``; ``factor`` ``(in, in)``: lower Cholesky factor L of the damped mean over tokens of x x^T.
    The change D of the remaining weights minimises the mean of |W_cut x_cut - D x_kept|^2 with this damping (Kurtic et
    al., ZipLM, NeurIPS 2023): L_kk^T D^T = (W_cut L_ck)^T, so that one factor serves any number of inputs.
    """
    lost = weight[:, kept:].to(factor.dtype) @ factor[kept:, :kept]
    change: torch.Tensor = torch.linalg.solve_triangular(factor[:kept, :kept], lost, upper=False, left=False)
    return weight[:, :kept] + change.to(weight.dtype)


def output_errors(weight: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of outputs refitted to the first n inputs, for n from 0 to all: ``(in + 1,)``.

    ``weight`` and ``factor`` L: see :func:`refit`. As x = L z with uncorrelated z, the error is the sum of squares of
    the columns of W L beyond n.
    """
    squares = (weight.to(factor.dtype) @ factor).square().sum(0)
    return torch.cat([squares, squares.new_zeros(1)]).flip(0).cumsum(0).flip(0)


def obs_order(weight: torch.Tensor, gram: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the units in the reverse order of their removal, int64 ``(units,)``.

    ``weight`` ``(out, in)``; ``gram`` ``(in, in)``: the mean over tokens of x x^T; ``inputs`` ``(units, size)``, int64:
    the inputs of each unit. Each round removes the units S with the least tr(W_S ((H^-1)_SS)^-1 W_S^T), and updates W
    and H^-1 (Kurtic et al., ZipLM, NeurIPS 2023, equations 2 and 3); H is the damped ``gram``.
    """
    units, size = inputs.shape
    at = inputs.flatten()
    inverse = damped_inverse(gram[at][:, at])
    updated = weight.to(inverse.dtype)[:, at]
    remaining, removed = torch.arange(units, device=inputs.device), []
    at = torch.arange(units * size, device=inputs.device).view(units, size)  # inputs of the remaining units
    per_round = -(-units // _ROUNDS)
    while len(remaining):
        columns = updated[:, at].permute(1, 2, 0)
        costs = (columns * _solve_each(inverse[at[:, :, None], at[:, None, :]], columns)).sum((1, 2))
        order = costs.argsort(stable=True)
        removed.append(remaining[order[:per_round]])
        cut, rest = at[order[:per_round]].flatten(), order[per_round:].sort().values
        change = torch.linalg.solve(inverse[cut][:, cut], inverse[cut])
        updated.addmm_(updated[:, cut], change, alpha=-1)
        inverse.addmm_(inverse[:, cut], change, alpha=-1)
        remaining, at = remaining[rest], at[rest]
        if at.numel() < _FULL * len(inverse):
            kept = at.flatten()
            updated, inverse = updated[:, kept], inverse[kept][:, kept]
            at = torch.arange(len(kept), device=inputs.device).view(-1, size)
    return torch.cat(removed).flip(0)


def _solve_each(matrices: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return X of A X = B, one by one: with several threads MKL 2024.2 solves batches of 192 rows and more wrongly."""
    if matrices.shape[1] == 1:  # channels, too many for a loop
        return right / matrices
    return torch.stack([torch.linalg.solve(matrix, columns) for matrix, columns in zip(matrices, right, strict=True)])
