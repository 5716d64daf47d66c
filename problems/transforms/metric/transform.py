"""The cut in single weights, by a score whose parts are genes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from cachetools import LRUCache

from evoprune import Genes, Price
from problems.calibration.activations import INPUT_NORMS
from problems.calibration.statistics import statistics
from problems.calibration.tensor_cache import Tensors, shared
from problems.models.blocks import Matrix
from problems.models.resident import Resident
from problems.texts.text_splits import Texts
from problems.transforms.metric.metric import PARTS, Metric
from problems.transforms.metric.settings import MetricSettings
from problems.transforms.transform import Needs
from problems.transforms.weights.masks import BASE, Masks
from problems.transforms.weights.settings import WeightsSettings
from problems.transforms.weights.transform import LEVEL_BYTES, Weights

_KEPT = 2**31
"""Bytes of the levels of metrics that are kept; those of others are computed again."""


class SearchedScore(Weights):
    """Set weights to zero, by a score that is searched: four genes choose its parts, the others are sparsities."""

    Settings = MetricSettings
    settings: MetricSettings

    def __init__(self, resident: Resident, settings: MetricSettings, texts: Texts) -> None:
        self._metric = Metric()
        super().__init__(resident, settings, texts)
        self._genes = Genes([*Metric.genes(), *self.meaning.genes])
        size = LEVEL_BYTES * resident.prunable_weights
        self._recent: LRUCache[Metric, Masks] = LRUCache(_KEPT, lambda _: min(_KEPT, size))

    @classmethod
    def needs_of(cls, resident: Resident, settings: WeightsSettings) -> Needs:
        """As of ``weights``, and the levels of other metrics: of one at least."""
        needs, levels = super().needs_of(resident, settings), LEVEL_BYTES * resident.prunable_weights
        return replace(needs, memory=needs.memory + max(levels, _KEPT))

    @property
    def genes(self) -> Genes:
        """The parts of the metric, then sparsities."""
        return self._genes

    @property
    def dense(self) -> list[float]:
        """Wanda's metric, and no sparsity."""
        return self.uniform(0.0)

    def uniform(self, share: float) -> list[float]:
        """The sparsity ``share`` in every matrix, by Wanda's metric."""
        return [*Metric().genome, *super().uniform(share)]

    def apply(self, genome: Sequence[float]) -> None:
        """Rank the weights anew if the metric changed, and mask the matrices whose cut changed."""
        metric = Metric.of(genome[: len(PARTS)])
        if metric != self._metric:
            if metric not in self._recent:
                self._recent[metric] = self._ranked(metric)
            self._metric, self.masks = metric, self._recent[metric]
            self.masks.forget()
        super().apply(genome[len(PARTS) :])

    def marks(self) -> Sequence[Hashable]:
        """The metric, and the cuts of each block's matrices."""
        return [(self._metric, cuts) for cuts in super().marks()]

    def prices(self, unit: str) -> tuple[list[Price], float]:
        """As those of ``weights``; the metric costs nothing."""
        prices, fixed = super().prices(unit)
        return [*(0.0 for _ in PARTS), *prices], fixed

    def measures(self) -> dict[str, Any]:
        """The sparsity, and the metric as people read it."""
        return super().measures() | {"metric": str(self._metric)}

    def describe(self) -> dict[str, Any]:
        """The scope of each kind of matrix, what metrics are made of, and the settings of the reconstruction."""
        scopes = {kind: f"searched by {self.scoring.scope(kind)}" for kind in self.scoring.describe()}
        return super().describe() | {"scores": scopes, "metrics": {part: list(names) for part, names in PARTS.items()}}

    def _stored(self) -> Tensors:
        """The original weights, and the levels of the first metric."""
        self._known = self._originals()
        what = [self.texts.calibration.identity]
        self._norms = shared(self.resident, "norms of inputs", what, self._gathered)
        return self._levels(self._metric)

    def _gathered(self) -> Tensors:
        found = statistics(self.resident.model, self.texts.calibration.tokens, self.matrices, {INPUT_NORMS})
        return {matrix.name: known[INPUT_NORMS] for matrix, known in found}

    def _ranked(self, metric: Metric) -> Masks:
        return Masks(self.groups, self._levels(metric), self.meaning.sparsities)

    def _levels(self, metric: Metric) -> Tensors:
        """The original weights, and their levels by ``metric``."""
        return self._known | self.scoring.levels_of(self._scored(metric), self.groups)

    def _scored(self, metric: Metric) -> Iterator[tuple[Matrix, torch.Tensor]]:
        for matrix in self.matrices:
            weight = matrix.rows(self._known[BASE + matrix.name]).float()
            yield matrix, matrix.rows(metric.score(weight, self._norms[matrix.name])).contiguous()

    @property
    def _scores(self) -> str:
        return str(self._metric)

    @property
    def _scored_by(self) -> list[object]:
        return [*super()._scored_by, self._metric]
