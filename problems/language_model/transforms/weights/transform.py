"""The transform ``weights``: each group of matrices loses a share of its weights, the lowest scores first."""

from collections.abc import Collection, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from evoprune import Budget, Genes, InputError
from evoprune.experiment.registry import find_plugin
from evoprune.problems.language_model import scores
from evoprune.problems.language_model import transforms as cuts
from evoprune.problems.language_model.calibration.statistics import Statistics, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, code, shared
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.scores import find_score, needs
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms import uniform_name
from evoprune.problems.language_model.transforms.costs import WEIGHTS, Prices
from evoprune.problems.language_model.transforms.options import Loss
from evoprune.problems.language_model.transforms.transform import EXPERTS, Transform
from evoprune.problems.language_model.transforms.weights.genes import sparsities_of
from evoprune.problems.language_model.transforms.weights.masks import Masks
from evoprune.problems.language_model.transforms.weights.reconstruction import ScoredBy, put_updated, stored_stages
from evoprune.problems.language_model.transforms.weights.scoring import Scoring, originals
from evoprune.problems.language_model.transforms.weights.settings import ALLOCATIONS, WeightsSettings


class Weights(Transform):
    """Set weights to zero, chosen by a score; a gene is the sparsity of a block, of a matrix or of a kind of matrix::

    transforms: {use: weights, score: gblm, genes: block_and_kind, reconstruct: least_squares}
    """

    sparse = True
    units = (WEIGHTS,)
    Settings = WeightsSettings
    settings: WeightsSettings

    def __init__(self, resident: Resident, settings: WeightsSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        self.matrices = resident.with_stacks if settings.experts else resident.matrices
        self.sparsities = sparsities_of(self.matrices, settings)
        self.groups = self.sparsities.groups
        self.scoring = Scoring(self.matrices, settings.score, settings.scores, settings.scope)
        self.masks = self._masks(self._stored())

    @classmethod
    def calibrates(cls, settings: WeightsSettings) -> bool:
        names = {settings.score, *settings.scores.values()}
        learns = settings.reconstruct != "none" or bool(settings.allocations)
        return learns or any(needs(find_score(name)) for name in names)

    @property
    def genes(self) -> Genes:
        return self.sparsities.genes

    @property
    def parts(self) -> frozenset[str]:
        return super().parts | ({EXPERTS} if self.settings.experts else frozenset())

    @property
    def dense(self) -> list[float]:
        return self.sparsities.uniform(0.0)

    def uniform(self, share: float) -> list[float]:
        return self.sparsities.uniform(share)

    def references(self, share: float | None) -> dict[str, list[float]]:
        """The curve of uniform sparsities."""
        own = [] if share is None else [share]
        shares = [*sorted({*self.settings.curve, *own}), *own]  # last again: others may round to its name
        return {uniform_name(each): self.uniform(each) for each in shares if each}

    def allocations(self, budget: Budget | None, loss: Loss) -> dict[str, list[float]]:
        if budget is None and self.settings.allocations:
            raise InputError("need a limit, and the search has none; leave them out", "allocations")
        return {name: find_plugin(ALLOCATIONS, name)(self, budget, loss) for name in self.settings.allocations}

    def random_genome(self, share: float | None) -> list[float]:
        """Draw genes near the uniform sparsity ``share``."""
        return self.genes.random() if share is None else self.sparsities.random_near(share)

    def apply(self, genome: Sequence[float]) -> None:
        self.masks.apply(self.sparsities.of(genome))

    def block_fingerprints(self) -> Sequence[Hashable]:
        return self.masks.block_cuts()

    def prices(self, unit: str) -> Prices:  # noqa: ARG002 - the only one
        return [-weight for weight in self.sparsities.weights], float(self.resident.prunable_weights)

    def measures(self) -> dict[str, float]:
        return {"sparsity": self.masks.sparsity}

    @property
    def late(self) -> bool:
        return self.resident.streams and not self.updates

    @property
    def updates(self) -> bool:
        return self.settings.reconstruct != "none"

    def finalise(self, genome: Sequence[float]) -> None:
        self.apply(genome)
        if self.updates and self.masks.sparsity:
            calibration = self.texts.calibration
            put_updated(self.resident, self.settings, self.matrices, self._scored_by, calibration, self.masks)

    def describe(self) -> dict[str, Any]:
        names = ("reconstruct", "reconstruct_stages", "genes")
        return {"scores": self.scoring.describe()} | self.settings.model_dump(mode="json", include={*names})

    def statistics(self, names: Collection[str]) -> Iterator[tuple[Matrix, Statistics]]:
        self.apply(self.dense)
        return statistics(self.resident.model, self.texts.calibration.tokens, self.matrices, names)

    def scored(self) -> Iterator[tuple[Matrix, torch.Tensor]]:
        self.apply(self.dense)
        return self.scoring.scored(self.resident.model, self.scoring.tokens_of(self.texts))

    def _masks(self, stored: Tensors) -> Masks:
        return Masks(self.groups, stored, self.settings.reconstruct_stages, self.late)

    def _stored(self) -> Tensors:
        label, key = self._scored_by
        scored = partial(self.scoring.levels, self.resident.model, self.groups, self.scoring.tokens_of(self.texts))
        stored = originals(self.resident, self.matrices) | shared(self.resident, f"levels: {label}", key, scored)
        if not self.settings.reconstruct_stages:
            return stored
        calibration = self.texts.calibration
        return stored | stored_stages(self.resident, self.settings, self.matrices, self._scored_by, calibration, stored)

    @property
    def _scored_by(self) -> ScoredBy:
        groups = [group.name for group in self.groups] if self.settings.scope == "group" else []
        known = self.texts.calibration.identity if self.scoring.needs else None
        described = sorted(self.scoring.describe().items())
        key: list[object] = [code(cuts, scores), described, self.scoring.code, groups, known]
        return ScoredBy(self.scoring.label, key)
