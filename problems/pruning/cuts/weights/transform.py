"""The cut in single weights: each group of matrices loses a share of its weights, the lowest scores first."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from evoprune import Genes, __version__
from evoprune.budget import Price
from problems.language_model.model.blocks import Matrix
from problems.language_model.resident import Resident
from problems.language_model.shared_tensors import Tensors, shared_of
from problems.language_model.statistics.calibration import Statistics, statistics
from problems.language_model.text.roles import Texts
from problems.language_model.transform import WEIGHTS, Transform, unknown_unit
from problems.pruning.cuts.weights.genes import make_genes
from problems.pruning.cuts.weights.masks import Masks
from problems.pruning.cuts.weights.scoring import Scoring
from problems.pruning.cuts.weights.sequential import reconstruct
from problems.pruning.cuts.weights.settings import WeightsSettings
from problems.pruning.cuts.weights.stages import reconstruct_at_stages


class Weights(Transform):
    """Set weights to zero, chosen by a score; a gene is the sparsity of a block, a matrix or a kind of matrix."""

    Settings = WeightsSettings
    settings: WeightsSettings

    def __init__(self, resident: Resident, settings: WeightsSettings, texts: Texts) -> None:
        super().__init__(resident, settings, texts)
        self.matrices = resident.matrices
        self.meaning = make_genes(self.matrices, settings)
        self.groups = self.meaning.groups
        self.scoring = Scoring(settings, self.matrices)
        self.masks = Masks(self.groups, self._stored(), self.meaning.sparsities, settings.reconstruct_stages)

    @classmethod
    def calibrates(cls, settings: WeightsSettings) -> bool:
        """True if a score reads statistics or weights are updated."""
        from problems.pruning.scores.base import find_score, needs

        names = {settings.score, *settings.scores.values()}
        return settings.reconstruct != "none" or any(needs(find_score(name)) for name in names)

    @property
    def genes(self) -> Genes:
        """Sparsities within ``min_sparsity`` and ``max_sparsity``."""
        return self.meaning.genes

    @property
    def dense(self) -> list[float]:
        """No sparsity anywhere."""
        return self.meaning.uniform(0.0)

    def uniform(self, share: float) -> list[float]:
        """The sparsity ``share`` in every matrix, even where it lies beyond the bounds."""
        return self.meaning.uniform(share)

    def apply(self, genome: Sequence[float]) -> None:
        """Mask the matrices whose cut changed."""
        self.masks.apply(genome)

    def marks(self) -> Sequence[Hashable]:
        """The cuts of each block's matrices."""
        return self.masks.block_cuts()

    def prices(self, unit: str) -> tuple[list[Price], float]:
        """Each gene saves the weights it governs, for each 1 of sparsity."""
        if unit != WEIGHTS:
            raise unknown_unit(self, unit, [WEIGHTS])
        return [-weight for weight in self.meaning.weights], float(self.masks.total)

    def measures(self) -> dict[str, float]:
        """The share of the blocks' weights that is removed."""
        return {"sparsity": self.masks.sparsity}

    @property
    def updates(self) -> bool:
        """Whether the settings name a reconstruction."""
        return self.settings.reconstruct != "none"

    def finalise(self, genome: Sequence[float]) -> None:
        """Mask the model, and update the remaining weights where the settings say so."""
        self.apply(genome)
        if self.updates and any(genome):
            reconstruct(self.resident, self.settings, self.masks, self.texts.calibration.tokens)

    def describe(self) -> dict[str, Any]:
        """Scores, and the settings of the reconstruction."""
        settings = self.settings
        return {
            "scores": self.scoring.describe(),
            "reconstruct": settings.reconstruct,
            "reconstruct_mask": settings.reconstruct_mask,
            "reconstruct_stages": list(settings.reconstruct_stages),
            "genes": settings.genes,
        }

    def statistics(self, names: Collection[str]) -> Iterator[tuple[Matrix, Statistics]]:
        """The matrices, and their statistics ``names`` in the dense model."""
        self.apply(self.dense)
        return statistics(self.resident.model, self.texts.calibration.tokens, self.matrices, names)

    def scored(self) -> Iterator[tuple[Matrix, torch.Tensor]]:
        """The matrices, and the scores of their weights in the dense model."""
        self.apply(self.dense)
        return self.scoring.scored(self.resident.model, self._calibrating)

    @property
    def _calibrating(self) -> torch.Tensor:
        """The calibration text if the scores need it; else it is not read."""
        return self.texts.calibration.tokens if self.scoring.needs else torch.empty(0, 1, dtype=torch.int64)

    def _stored(self) -> Tensors:
        """The original weights and their levels, and those of the stages."""
        settings, model = self.settings, self.resident.model
        what: list[object] = [__version__, self.resident.weights_sha256]
        what += [sorted(self.scoring.describe().items()), self.scoring.code]
        what += [self._calibration_id()] if self.scoring.needs else []
        what += [group.name for group in self.groups] if settings.scope == "group" else []
        stored = shared_of(self.resident, what, partial(self.scoring.stored, model, self.groups, self._calibrating))
        if not settings.reconstruct_stages:
            return stored
        what += [settings.reconstruct_stages, settings.reconstruct, settings.reconstruct_mask, self._calibration_id()]
        tokens = self.texts.calibration.tokens
        return stored | shared_of(
            self.resident, what, partial(reconstruct_at_stages, settings, model, self.matrices, tokens, stored)
        )

    def _calibration_id(self) -> tuple[str, tuple[int, ...]]:
        windows = self.texts.calibration
        return windows.sha256, tuple(windows.tokens.shape)
