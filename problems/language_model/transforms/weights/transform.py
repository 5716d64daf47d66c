"""The transform ``weights``: unstructured pruning of groups of matrices, the lowest scores first."""

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import torch

from evoprune import Genes
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.scores import find_score, needs
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.costs import Prices
from evoprune.problems.language_model.transforms.transform import Transform
from evoprune.problems.language_model.transforms.weights.genes import BlockAndKind, Sparsities
from evoprune.problems.language_model.transforms.weights.masks import Masks
from evoprune.problems.language_model.transforms.weights.reconstruction import reconstruct, reconstruct_at_stages
from evoprune.problems.language_model.transforms.weights.scoring import Scoring, original_weights
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings


class Weights(Transform):
    """Set the weights with the lowest scores to zero; a gene is the sparsity of a block, a matrix or a kind of matrix::

        transforms: {use: weights, score: gblm, genes: block_and_kind, reconstruct: least_squares}
        budget: {use: weights, removed: 0.45}

    Zeros are stored as other weights are: a file has as many bytes as before.
    """

    sparse = True
    Settings = WeightsSettings
    settings: WeightsSettings

    def __init__(self, resident: Resident, settings: WeightsSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        self.matrices = resident.matrices
        kind = BlockAndKind if settings.genes == "block_and_kind" else Sparsities
        self.sparsities = kind(self.matrices, settings)
        self.scoring = Scoring(self.matrices, settings.score, texts)
        self.masks = Masks(self.sparsities.groups, self._stored(), settings.reconstruct_stages, self.lazy)

    @classmethod
    def calibrates(cls, settings: WeightsSettings) -> bool:
        return settings.reconstruct != "none" or bool(needs(find_score(settings.score)))

    @property
    def genes(self) -> Genes:
        return self.sparsities.genes

    @property
    def dense(self) -> list[float]:
        return self.sparsities.uniform(0.0)

    def uniform(self, share: float) -> list[float]:
        return self.sparsities.uniform(share)

    def references(self, share: float | None) -> dict[str, list[float]]:
        """Return uniform genomes at the ``share`` and at the sparsities of the curve, by name."""
        shares = {f"{UNIFORM} {100 * each:g}%": each for each in self.settings.curve if each != share}
        shares |= {} if share is None else {UNIFORM: share}
        return {name: self.uniform(each) for name, each in sorted(shares.items(), key=lambda item: item[1]) if each}

    def random_genome(self, share: float | None) -> list[float]:
        """Draw genes near the uniform sparsity ``share``."""
        return self.genes.random() if share is None else self.sparsities.random_near(share)

    def apply(self, genome: Sequence[float]) -> None:
        self.masks.apply(self.sparsities.group_sparsities(genome))

    def block_fingerprints(self) -> Sequence[Hashable]:
        return self.masks.block_thresholds()

    def prices(self, unit: str) -> Prices:  # noqa: ARG002 - the only one
        return [-size for size in self.sparsities.gene_sizes], float(self.resident.prunable_weights)

    def measures(self) -> dict[str, Any]:
        return {"sparsity": self.masks.removed / self.resident.prunable_weights}

    @property
    def lazy(self) -> bool:
        return self.resident.streams and not self.updates

    @property
    def updates(self) -> bool:
        return self.settings.reconstruct != "none"

    @torch.no_grad()
    def finalise(self, genome: Sequence[float]) -> None:
        self.apply(genome)
        masks = self.masks
        if not self.updates or not masks.removed:
            return
        calibration = self.texts.calibration

        def build() -> Tensors:
            reconstruct(self.resident, masks, calibration.tokens)
            return {matrix.name: matrix.weight.detach() for matrix in self.matrices}

        label = f"updated weights: {self.measures()['sparsity']:.1%}, {self.scoring.label}"
        key = [*self.scoring.key, calibration.identity, sorted(masks.sparsities().items())]
        updated = cached(self.resident, label, key, build, pinned=False)
        masks.invalidate()
        for matrix in self.matrices:
            matrix.weight.copy_(updated[matrix.name])

    def describe(self) -> dict[str, Any]:
        names = ("reconstruct", "reconstruct_stages", "genes")
        return {"score": self.scoring.label} | self.settings.model_dump(mode="json", include={*names})

    def _stored(self) -> Tensors:
        """Return the original weights, the bins of their ranks, and both after the updates for each stage."""
        label, key, model = self.scoring.label, self.scoring.key, self.resident.model
        bins = cached(self.resident, f"levels: {label}", key, partial(self.scoring.bins, model))
        stored = original_weights(self.resident, self.matrices) | bins
        if not (stages := self.settings.reconstruct_stages):
            return stored
        calibration = self.texts.calibration
        build = partial(reconstruct_at_stages, stages, model, self.matrices, calibration.tokens, stored)
        label = f"updated weights: {', '.join(map(str, stages))}, {label}"
        return stored | cached(self.resident, label, [*key, calibration.identity, stages], build)
