"""The order in which units of a sublayer stay, and output matrices refitted to the remaining ones (structured OBS)."""

from collections.abc import Sequence
from functools import partial

import torch
from cachetools import LRUCache

from evoprune.problems.language_model import transforms as cuts
from evoprune.problems.language_model.calibration.statistics import GRAM, damped_factor, damped_inverse, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached, code
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.transform import RECENT_BYTES
from evoprune.problems.language_model.transforms.widths.units import Units

_ROUNDS = 64  # rounds in which units are removed; a round's units are chosen by their costs at its start


class UnitOrder:
    """Orders the units of each block by structured OBS, the unit that is removed last first.

    Stored tensors, by block: ``order``, the units; ``factor``, of the Gram matrix of the output matrix's inputs in this
    order; ``lost``, the output error with the first units. Without ``texts`` any units stay, and nothing is refitted.
    """

    def __init__(self, resident: Resident, noun: str, units: Sequence[Units], texts: Texts | None) -> None:
        self._model, self._device, self._units = resident.model, resident.device, units
        self._stored = {f"order.{block}": torch.arange(one.count) for block, one in enumerate(units)}
        if texts:
            read, home = texts.calibration, torch.device("cpu")  # Gram matrices of all blocks may exceed the model
            made = partial(self._computed, read.tokens)
            self._stored = cached(resident, f"order: {noun}", [code(cuts), noun, read.identity], made, home)
        self._outputs: LRUCache[tuple[int, int], torch.Tensor] = LRUCache(
            RECENT_BYTES, lambda weight: min(RECENT_BYTES, weight.nbytes)
        )

    def kept(self, block: int, count: int) -> torch.Tensor:
        """Return the ``count`` units of ``block`` that stay: int64, in their order in the model."""
        return self._order(block)[:count].sort().values

    def columns(self, block: int, count: int) -> torch.Tensor:
        """Return the inputs of the output matrix of ``block`` that stay, rising."""
        return self._units[block].output.places[self.kept(block, count)].flatten().sort().values

    def refitted(self, block: int, count: int) -> torch.Tensor | None:
        """Return the output matrix of ``block`` for the first ``count`` units, in its layout; None without texts."""
        if f"factor.{block}" not in self._stored:
            return None
        if (block, count) not in self._outputs:
            output, factor = self._units[block].output, self._stored[f"factor.{block}"].to(self._device)
            inputs = output.places[self._order(block)].flatten()
            whole, kept = output.matrix.rows(self._units[block].whole_output), count * output.places.shape[1]
            weight = refitted(whole[:, inputs], factor, kept)[:, inputs[:kept].argsort()]
            self._outputs[block, count] = output.matrix.rows(weight).contiguous()
        return self._outputs[block, count]

    def harms(self, block: int, counts: Sequence[int]) -> list[float | None]:
        """Return the output error of ``block`` with each of ``counts`` units; None for no unit. Empty if unknown."""
        lost = self._stored.get(f"lost.{block}")
        harms = [None if lost is None or not count else float(lost[count]) for count in counts]
        return harms if any(harms) else []

    def _order(self, block: int) -> torch.Tensor:
        return self._stored[f"order.{block}"].to(self._device)

    def _computed(self, tokens: torch.Tensor) -> Tensors:
        stored = Tensors()
        outputs = [units.output.matrix for units in self._units]
        for block, (matrix, known) in enumerate(statistics(self._model, tokens, outputs, {GRAM})):
            weight, places = matrix.rows(matrix.weight), self._units[block].output.places
            order = best_first(weight, known[GRAM], places)
            inputs = places[order].flatten()
            factor = damped_factor(known[GRAM][inputs][:, inputs])
            stored[f"order.{block}"] = order
            stored[f"lost.{block}"] = losses(weight[:, inputs], factor)[:: places.shape[1]].contiguous()
            stored[f"factor.{block}"] = factor.float().cpu().contiguous()
        return stored


def refitted(weight: torch.Tensor, factor: torch.Tensor, kept: int) -> torch.Tensor:
    """Return the weights ``(out, kept)`` of the first ``kept`` inputs, whose outputs are nearest to that of ``weight``.

    ``weight`` ``(out, in)``; ``factor`` ``(in, in)``, lower triangular: of the damped mean over tokens of x x^T. The
    change D of the kept weights minimises the mean of |W_cut x_cut - D x_kept|^2 with this damping (Kurtic et al.,
    ZipLM, NeurIPS 2023): L_kk^T D^T = (W_cut L_ck)^T, so that one factor serves any number of inputs.
    """
    lost = weight[:, kept:].to(factor.dtype) @ factor[kept:, :kept]
    change: torch.Tensor = torch.linalg.solve_triangular(factor[:kept, :kept], lost, upper=False, left=False)
    return weight[:, :kept] + change.to(weight.dtype)


def losses(weight: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return the error of the outputs with the first n inputs, for n from 0 to all: ``(in + 1,)``, as ``factor``.

    ``weight`` and ``factor`` L as of :func:`refitted`. The mean squared error with the best weights: x = L z, where z
    is independent, so that the squares of the columns of W L beyond n are lost.
    """
    squares = (weight.to(factor.dtype) @ factor).square().sum(0)
    return torch.cat([squares, squares.new_zeros(1)]).flip(0).cumsum(0).flip(0)


def best_first(weight: torch.Tensor, gram: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the units, int64 ``(units,)``, the one that is removed last first.

    ``weight`` ``(out, in)``; ``gram`` ``(in, in)``: the mean over tokens of x x^T; ``places`` ``(units, size)``, int64:
    the inputs of each unit. Each round removes the units S with the least tr(W_S ((H^-1)_SS)^-1 W_S^T), and updates W
    and H^-1 (Kurtic et al., ZipLM, NeurIPS 2023, equations 2 and 3); H is the damped ``gram``.
    """
    units, size = places.shape
    at = places.flatten()
    inverse = damped_inverse(gram[at][:, at])
    wide = weight.to(inverse.dtype)[:, at]
    left, gone = torch.arange(units, device=places.device), []
    at_once = -(-units // _ROUNDS)
    while len(left):  # whose inputs alone are in ``wide`` and ``inverse``
        at = torch.arange(size * len(left), device=places.device).view(-1, size)
        columns = wide[:, at].permute(1, 2, 0)
        costs = (columns * _solved(inverse[at[:, :, None], at[:, None, :]], columns)).sum((1, 2))
        order = costs.argsort(stable=True)
        gone.append(left[order[:at_once]])
        stay = order[at_once:].sort().values
        cut, kept, left = at[order[:at_once]].flatten(), at[stay].flatten(), left[stay]
        change = torch.linalg.solve(inverse[cut][:, cut], inverse[cut[:, None], kept])
        wide = wide[:, kept].addmm_(wide[:, cut], change, alpha=-1)
        inverse = inverse[kept[:, None], kept].addmm_(inverse[kept[:, None], cut], change, alpha=-1)
    return torch.cat(gone).flip(0)


def _solved(matrices: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """X of A X = B, one by one: with several threads MKL 2024.2 solves a batch of 192 rows and more wrongly."""
    if matrices.shape[1] == 1:  # channels, too many for a loop
        return right / matrices
    return torch.stack([torch.linalg.solve(own, columns) for own, columns in zip(matrices, right, strict=True)])
