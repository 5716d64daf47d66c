"""Pruning as a problem: genes are sparsities, fitness is perplexity."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from evoprune import Budget, Evaluation, Outcome, TradeOffs, find_plugin
from problems.allocations import ALLOCATIONS
from problems.language_model.problem import LanguageModel
from problems.language_model.settings import TOLERANCE, UNIFORM, PruningSettings, missing, uniform_name
from problems.results.labels import about
from problems.scores import SCORES

if TYPE_CHECKING:  # it imports torch, which checking an experiment does not need
    from problems.transforms.weights.transform import Weights


class _Found(NamedTuple):
    """An allocation without search, and the tokens scored to find it."""

    genome: list[float]
    tokens: int
    """Of the search text."""


class Pruning(LanguageModel, TradeOffs):
    """Choose how much of each layer a causal language model loses, at a given global sparsity.

    A gene is the sparsity of a transformer block (or of a matrix); fitness is perplexity on
    the search text, or divergence from the dense model. The protocol is that of the ESILV report (2025).
    """

    Settings = PruningSettings
    plugin_groups = MappingProxyType({"score": SCORES, "allocations": ALLOCATIONS})
    shares = LanguageModel.shares | {"genes", "by_matrix"}
    settings: PruningSettings

    @classmethod
    def _calibrates(cls, settings: PruningSettings) -> bool:
        return bool(settings.found) or super()._calibrates(settings)

    @classmethod
    def _transforms(cls, settings: PruningSettings) -> list[tuple[Any, Any]]:
        from problems.transforms.weights.transform import Weights

        return [(Weights, settings)]

    @property
    def cut(self) -> Weights:
        """The transform."""
        return self.session.transform  # type: ignore[return-value]

    @classmethod
    def weights_of(cls, settings: PruningSettings) -> tuple[float, ...]:
        """Minimise perplexity; also maximise sparsity if it is the ``second_objective``."""
        return (-1.0, 1.0) if settings.second_objective == "sparsity" else (-1.0,)

    @classmethod
    def about(cls, settings: PruningSettings) -> str:
        """The model, the sparsity and the score, and the texts."""
        return about(settings, [f"{100 * settings.sparsity:.4g}% by {settings.score}"])

    @classmethod
    def drawn_references(cls, settings: PruningSettings) -> tuple[str, str]:
        """Dense, and uniform at the target."""
        return ("dense", uniform_name(settings.sparsity))

    @classmethod
    def missing(cls, settings: PruningSettings) -> list[str]:
        """The model and the texts: to ask the transform, which needs nothing else, torch would be imported."""
        return list(missing(settings))

    @classmethod
    def needs(cls, settings: PruningSettings) -> Mapping[str, str]:
        """A repair, if there is a budget."""
        if settings.second_objective == "sparsity":
            return {}
        return {
            "repair": "without it candidates would not keep to problem.sparsity; give shift, or search trade-offs "
            "with algorithm: nsga2 and problem.second_objective: sparsity"
        }

    @classmethod
    def labels_of(cls, settings: PruningSettings) -> tuple[str, ...]:
        """The objectives in the order of :meth:`weights_of`, the first with the text on which it is measured."""
        labels = (settings.objective_label, "sparsity of the prunable weights")
        return labels[: len(cls.weights_of(settings))]

    @property
    def _trades_off(self) -> bool:
        return len(self.weights) > 1

    @cached_property
    def budget(self) -> Budget:
        """The remaining weights, limited to those at ``sparsity``; no limit if sparsity is an objective."""
        from problems.budgets.weights import unlimited_weights

        return unlimited_weights(self.cut) if self._trades_off else self._at_target

    @cached_property
    def _at_target(self) -> Budget:
        """The budget at ``sparsity``, which allocations without search keep even where the search has no limit."""
        from problems.budgets.weights import weights

        return weights(self.cut, removed=self.settings.sparsity)

    @cached_property
    def _found(self) -> dict[str, _Found]:
        """The allocations without search by name, for the main process."""
        return {name: self._find(name) for name in self.settings.found}

    def _find(self, name: str) -> _Found:
        fitness = self.session.fitness
        before = fitness.tokens_scored
        genome = find_plugin(ALLOCATIONS, name)(self.cut, self._at_target, fitness.loss)
        return _Found(genome, fitness.tokens_scored - before)

    @property
    def setup_cost(self) -> float:
        """The tokens of the search text that finding the first genomes and the prior took, without calibration."""
        used = {*self.settings.initial_genomes, self.settings.prior}
        return float(sum(self._found[name].tokens for name in self.settings.found if name in used))

    def prior(self) -> list[float] | None:
        """The allocation that the settings name."""
        return self._found[self.settings.prior].genome if self.settings.prior else None

    def random_genome(self) -> list[float]:
        """Genes drawn uniformly within ``initial_spread`` of the uniform allocation at the target sparsity.

        Without a budget, around a sparsity drawn uniformly from all possible ones.
        """
        settings = self.settings
        drawn = random.uniform(settings.min_sparsity, settings.max_sparsity) if self._trades_off else settings.sparsity
        centre = self._uniform(drawn)
        reaches = [settings.initial_spread * spread for spread in self.cut.meaning.spreads]
        return [
            random.uniform(max(gene.low, value - reach), min(gene.up, value + reach))
            for gene, value, reach in zip(self.genes, centre, reaches, strict=True)
        ]

    def initial_genomes(self) -> list[list[float]]:
        """The allocations that the settings name; without a budget, uniform means all sparsities of the curve."""
        settings = self.settings
        sparsities = {settings.sparsity, *(settings.curve if self._trades_off else ())}
        within = [s for s in sorted(sparsities) if settings.min_sparsity <= s <= settings.max_sparsity]
        uniform = [self._uniform(sparsity) for sparsity in within]
        return [
            genome
            for name in settings.initial_genomes
            for genome in (uniform if name == UNIFORM else [self._found[name].genome])
        ]

    def references(self) -> dict[str, list[float]]:
        """Dense, the uniform curve, uniform at the target, and the ``allocations`` without search."""
        target = self.settings.sparsity
        sparsities = [
            *sorted({*self.settings.curve, target}),
            target,
        ]  # last again, because another may have the same rounded name
        curve = {uniform_name(sparsity): self._uniform(sparsity) for sparsity in sparsities if sparsity}
        found = {name: self._found[name].genome for name in self.settings.allocations}
        return {"dense": self.cut.dense} | curve | found

    @property
    def contenders(self) -> Mapping[str, Sequence[float]]:
        """Uniform at the target and the ``allocations`` without search; none where trade-offs are searched."""
        if self._trades_off or not self.settings.sparsity:
            return {}
        found = {name: self._found[name].genome for name in self.settings.allocations}
        return {UNIFORM: self._uniform(self.settings.sparsity)} | found

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        """The objective, and the sparsity if that is the ``second_objective``."""
        found = super().evaluate(genome, fidelity)
        return replace(found, values=(*found.values, self.cut.masks.sparsity)) if self._trades_off else found

    def choose(self, front: Sequence[tuple[float, ...]]) -> int:
        """The best by the first objective of those that reach the target; the sparsest if none does.

        The best of a front by perplexity alone would be a model that is hardly pruned.
        """
        reached = [at for at, (_, sparsity) in enumerate(front) if sparsity >= self.settings.sparsity - TOLERANCE]
        if reached:
            return min(reached, key=lambda at: front[at][0])
        return max(range(len(front)), key=lambda at: front[at][1])

    def report(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        """Score the result on the report text and draw it."""
        from problems.results.pruning_report import report

        result = report(self.session, self.cut, self.settings, outcome, folder)
        return self._recovered(result, outcome, folder)

    def _compared(self) -> dict[str, list[float]]:
        return {"dense": self.cut.dense, "uniform": self._uniform(self.settings.sparsity)}

    def _uniform(self, sparsity: float) -> list[float]:
        return self.cut.meaning.uniform(sparsity)
