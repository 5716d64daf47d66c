"""The transform ``experts``: removes routed experts of mixtures, with their rows of the routers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

import evoprune.problems.language_model.experts as experts
import evoprune.problems.language_model.transforms as transforms
from evoprune.plugins import steps
from evoprune.problems.language_model.calibration.statistics import BATCH_TOKENS
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached, code
from evoprune.problems.language_model.models.blocks import find_mixtures
from evoprune.problems.language_model.models.device import sum_dtype
from evoprune.problems.language_model.models.experts import (
    COUNTS,
    RoutedExperts,
    find_experts,
    recorded_inputs,
    unchosen_remarks,
)
from evoprune.problems.language_model.models.forward import Forward, Walk
from evoprune.problems.language_model.models.lazy_weights import without_offloading
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS
from evoprune.problems.language_model.transforms.structured import BlockUnits, StructuredPruning, StructuredSettings
from evoprune.problems.language_model.transforms.transform import EXPERTS


class Experts(StructuredPruning):
    """Remove routed experts; at least as many remain as a token chooses::

        transforms: {use: experts, keep: [0]}

    Experts are removed in the order of the change of their block's output without them. The router chooses among the
    remaining experts, and weighs them as its architecture does. Shared experts remain.
    """

    noun = "experts"
    Settings = StructuredSettings
    settings: StructuredSettings

    def __init__(self, resident: Resident, settings: StructuredSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        routed = find_experts(resident.model, check=texts is not None, lazy=resident.streams)
        self._experts = {experts.block: experts for experts in routed}
        self._set_units(
            {
                experts.block: BlockUnits(
                    range(experts.count, experts.active - 1, -1),
                    {WEIGHTS: experts.weights, PARAMETERS: experts.parameters},
                    {},
                )
                for experts in routed
            }
        )
        if texts is None:  # any may remain
            self._stored = {f"order.{experts.block}": torch.arange(experts.count) for experts in routed}
        else:
            key, home = [code(transforms, experts), texts.calibration.identity], torch.device("cpu")
            self._stored = cached(resident, "order: experts", key, self._ranked, home)

    @property
    def parts(self) -> frozenset[str]:
        return frozenset({EXPERTS})

    def _resize(self, block: int, count: int) -> None:
        self._experts[block].narrow(self.remaining(block, count))

    def config_entries(self, count: int) -> Mapping[str, int]:
        config = self.resident.model.config.get_text_config()
        return {name: count for name in COUNTS if hasattr(config, name)}

    def remaining(self, block: int, count: int) -> torch.Tensor:
        """Return the ``count`` experts of ``block`` that remain: int64, in their order in the model."""
        return self._stored[f"order.{block}"][:count].sort().values

    def remaining_rows(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        return {
            stack.name: (self.remaining(block, count)[:, None] * stack.outputs + torch.arange(stack.outputs)).flatten()
            for block, count in self.counts_of(genome).items()
            for stack in self._experts[block].stacks
            if count < self._experts[block].count
        }

    def measures(self) -> Mapping[str, Any]:
        return {"experts": sum(self.remaining_counts.values())}

    def remarks(self) -> list[str]:
        return unchosen_remarks({block: int(self._stored[f"counts.{block}"].eq(0).sum()) for block in self._experts})

    @torch.no_grad()
    def _ranked(self) -> Tensors:
        """Return the experts of each block, the most important first, and the number of tokens that chose each."""
        model, stored = self.resident.model, Tensors()
        with without_offloading(model):
            walk, exact = Walk(Forward(model), self.texts.calibration.tokens, BATCH_TOKENS), sum_dtype(model.device)
            for block in steps(range(1 + max(self._experts)), "experts by output", "block"):
                noted: list[torch.Tensor] = []
                mixtures = [mixture for mixture in find_mixtures(model) if mixture.block == block]
                with recorded_inputs(mixtures, lambda _, states, noted=noted: noted.append(states.flatten(0, 1)[None])):  # type: ignore[misc]
                    walk.advance(block)
                if experts := self._experts.get(block):
                    scores = torch.stack([_output_errors(experts, states).to(exact) for states in noted]).sum(0)
                    stored[f"order.{block}"] = scores.argsort(descending=True, stable=True).cpu()
                    chosen = torch.cat([experts.routing(states).chosen.flatten() for states in noted])
                    stored[f"counts.{block}"] = torch.bincount(chosen, minlength=experts.count).cpu()
        return stored


def _output_errors(experts: RoutedExperts, states: torch.Tensor) -> torch.Tensor:
    """Return the squared change of the output if each expert is removed, ``(experts,)``.

    ``states`` ``(1, tokens, width)``. Tokens that chose an expert choose again without it; other outputs do not change.
    """
    chosen, every, sums = experts.routing(states).chosen, torch.arange(experts.count), []
    for expert in range(experts.count):
        affected = states[:, (chosen == expert).any(1)]
        before = experts.output(affected)
        with experts.only(every[every != expert]):
            sums.append((experts.output(affected) - before).float().square().sum())
    return torch.stack(sums)
