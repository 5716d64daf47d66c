"""The order in which units of a sublayer stay, and output matrices refitted to the remaining ones."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from cachetools import LRUCache

from evoprune.problems.language_model import scores
from evoprune.problems.language_model import transforms as cuts
from evoprune.problems.language_model.calibration.statistics import GRAM, damped_factor, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, code, shared
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms.transform import RECENT_BYTES
from evoprune.problems.language_model.transforms.weights.scoring import Scoring
from evoprune.problems.language_model.transforms.widths.refit import best_first, losses, refitted
from evoprune.problems.language_model.transforms.widths.units import Units

STRUCTURED = "structured_obs"  # the name of the order that is no score of single weights


class UnitOrder:
    """Orders the units of each block by their scores, the highest first.

    ``settings``: the :class:`.unit_cut.UnitsSettings`; ``calibration``: the text that the score or the refit reads.
    Stored tensors, by block: ``order``, the units; with ``compensate`` also ``factor``, of the Gram matrix of the
    output matrix's inputs in this order, and ``lost``, the output error with the first units.
    """

    def __init__(
        self, resident: Resident, settings: Any, noun: str, units: Sequence[Units], calibration: Windows | None,
        cached: bool,
    ) -> None:  # fmt: skip
        self._model, self._device, self._units, self._settings = resident.model, resident.device, units, settings
        tokens = calibration.tokens if calibration else torch.empty(0, 1, dtype=torch.int64)
        matrices = [part.matrix for one in units for part in one.parts]
        structured = settings.score == STRUCTURED
        self._scoring = None if structured else Scoring(matrices, settings.score, {}, "auto")
        what: list[object] = [code(cuts, scores), noun, settings.score, settings.compensate]
        if self._scoring:
            what += [sorted(self._scoring.describe().items()), self._scoring.code]
        if calibration:
            what += [calibration.identity]
        made, label = partial(self._computed, tokens), f"order: {noun} by {settings.score}"
        # in main memory: the Gram matrices of all blocks may be larger than the model
        self._stored = shared(resident, label, what, made, torch.device("cpu")) if cached else made()
        self._outputs: LRUCache[tuple[int, int], torch.Tensor] = LRUCache(
            RECENT_BYTES, lambda weight: min(RECENT_BYTES, weight.nbytes)
        )

    def kept(self, block: int, count: int) -> torch.Tensor:
        """The ``count`` units of ``block`` that stay: int64, in their order in the model."""
        return self._order(block)[:count].sort().values

    def columns(self, block: int, count: int) -> torch.Tensor:
        """The inputs of the output matrix of ``block`` that stay, rising."""
        return self._units[block].output.places[self.kept(block, count)].flatten().sort().values

    def refitted(self, block: int, count: int) -> torch.Tensor:
        """The output matrix of ``block`` for the first ``count`` units, in the layout of its layer."""
        if (block, count) not in self._outputs:
            output, factor = self._units[block].output, self._stored[f"factor.{block}"].to(self._device)
            inputs = output.places[self._order(block)].flatten()
            whole, kept = output.matrix.rows(self._units[block].whole_output), count * output.places.shape[1]
            weight = refitted(whole[:, inputs], factor, kept)[:, inputs[:kept].argsort()]
            self._outputs[block, count] = output.matrix.rows(weight).contiguous()
        return self._outputs[block, count]

    def harms(self, block: int, counts: Sequence[int]) -> list[float | None]:
        """The output error of ``block`` with each of ``counts`` units; None for no unit. Empty if all are 0."""
        lost = self._stored[f"lost.{block}"]
        harms = [float(lost[count]) if count else None for count in counts]
        return harms if any(harms) else []

    def _order(self, block: int) -> torch.Tensor:
        return self._stored[f"order.{block}"].to(self._device)

    def _computed(self, tokens: torch.Tensor) -> Tensors:
        parts = {part.matrix.name: part for units in self._units for part in units.parts}
        compensate, stored = self._settings.compensate, Tensors()
        grams: dict[int, torch.Tensor] = {}
        if compensate or not self._scoring:
            outputs = [units.output.matrix for units in self._units]
            for matrix, known in statistics(self._model, tokens, outputs, {GRAM}):
                if compensate:
                    grams[matrix.block] = known[GRAM].cpu()
                if not self._scoring:
                    places = parts[matrix.name].places
                    stored[f"order.{matrix.block}"] = best_first(matrix.rows(matrix.weight), known[GRAM], places)
        if self._scoring:
            sums: dict[int, torch.Tensor] = {}
            for matrix, score in self._scoring.scored(self._model, tokens):
                sums[matrix.block] = sums.get(matrix.block, 0.0) + parts[matrix.name].sums(score)
            stored |= {f"order.{block}": each.argsort(descending=True, stable=True) for block, each in sums.items()}
        for block, units in enumerate(self._units) if compensate else ():
            weight, places = units.output.matrix.rows(units.whole_output), units.output.places
            inputs = places[stored[f"order.{block}"]].flatten()
            factor = damped_factor(grams.pop(block).to(weight.device)[inputs][:, inputs])
            stored[f"lost.{block}"] = losses(weight[:, inputs], factor)[:: places.shape[1]].contiguous()
            stored[f"factor.{block}"] = factor.float().cpu().contiguous()
        return stored
