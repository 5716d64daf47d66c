"""The transform ``weights``: each group of matrices loses a share of its weights, the lowest scores first."""

import random
from collections.abc import Collection, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from evoprune import Genes
from evoprune.problems.language_model import scores
from evoprune.problems.language_model import transforms as cuts
from evoprune.problems.language_model.calibration import gradients
from evoprune.problems.language_model.calibration.statistics import Statistics, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached, code, shared
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.scores import find_score, needs
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import WEIGHTS, Prices
from evoprune.problems.language_model.transforms.options import Needs
from evoprune.problems.language_model.transforms.transform import EXPERTS, Transform
from evoprune.problems.language_model.transforms.weights.genes import make_genes
from evoprune.problems.language_model.transforms.weights.masks import Masks
from evoprune.problems.language_model.transforms.weights.reconstruction import reconstruct, reconstruct_at_stages
from evoprune.problems.language_model.transforms.weights.scoring import Scoring
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings

LEVEL_BYTES, _FLOAT_BYTES = 2, 4  # of one weight


class Weights(Transform):
    """Set weights to zero, chosen by a score; a gene is the sparsity of a block, a matrix or a kind of matrix."""

    sparse = True
    units = (WEIGHTS,)
    Settings = WeightsSettings
    settings: WeightsSettings

    def __init__(self, resident: Resident, settings: WeightsSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        self.matrices = resident.with_stacks if settings.experts else resident.matrices
        self.meaning = make_genes(self.matrices, settings)
        self.groups = self.meaning.groups
        self.scoring = Scoring(self.matrices, settings.score, settings.scores, settings.scope)
        self.masks = self._masks(self._stored())

    @classmethod
    def calibrates(cls, settings: WeightsSettings) -> bool:
        names = {settings.score, *settings.scores.values()}
        return settings.reconstruct != "none" or any(needs(find_score(name)) for name in names)

    @classmethod
    def needs_of(cls, resident: Resident, settings: WeightsSettings) -> Needs:
        """The original weights and their levels; gradients while they are summed; updated weights of two genomes."""
        names = frozenset().union(*(needs(find_score(name)) for name in {settings.score, *settings.scores.values()}))
        weights, size = resident.prunable_weights, resident.model.dtype.itemsize
        stored = weights * (size + LEVEL_BYTES) * (1 + len(settings.reconstruct_stages))
        summed = weights * _FLOAT_BYTES * len(names & gradients.NAMES)
        updates = settings.reconstruct != "none"
        return Needs(names, updates, stored + summed, stored + 2 * updates * weights * size)

    @property
    def genes(self) -> Genes:
        return self.meaning.genes

    @property
    def parts(self) -> frozenset[str]:
        return super().parts | ({EXPERTS} if self.settings.experts else frozenset())

    @property
    def dense(self) -> list[float]:
        return self.meaning.uniform(0.0)

    def uniform(self, share: float) -> list[float]:
        return self.meaning.uniform(share)

    def random_near(self, sparsity: float, spread: float) -> list[float]:
        """Draw genes uniformly, from the global :mod:`random`, within ``spread`` of uniform at ``sparsity``."""
        reaches = [spread * share for share in self.meaning.spreads]
        return [
            random.uniform(max(gene.low, value - reach), min(gene.up, value + reach))
            for gene, value, reach in zip(self.genes, self.uniform(sparsity), reaches, strict=True)
        ]

    def apply(self, genome: Sequence[float]) -> None:
        self.masks.apply(self.meaning.sparsities(genome))

    def marks(self) -> Sequence[Hashable]:
        return self.masks.block_cuts()

    def prices(self, unit: str) -> Prices:  # noqa: ARG002 - the only one
        return [-weight for weight in self.meaning.weights], float(self.resident.prunable_weights)

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
            self._reconstruct()

    def describe(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "scores": self.scoring.describe(),
            "reconstruct": settings.reconstruct,
            "reconstruct_mask": settings.reconstruct_mask,
            "reconstruct_stages": list(settings.reconstruct_stages),
            "genes": settings.genes,
        }

    def statistics(self, names: Collection[str]) -> Iterator[tuple[Matrix, Statistics]]:
        self.apply(self.dense)
        return statistics(self.resident.model, self.texts.calibration.tokens, self.matrices, names)

    def scored(self) -> Iterator[tuple[Matrix, torch.Tensor]]:
        self.apply(self.dense)
        return self.scoring.scored(self.resident.model, self._calibrating)

    @property
    def _calibrating(self) -> torch.Tensor:
        """The calibration text if the scores need it; else it is not read."""
        return self.texts.calibration.tokens if self.scoring.needs else torch.empty(0, 1, dtype=torch.int64)

    def _masks(self, stored: Tensors) -> Masks:
        return Masks(self.groups, stored, self.settings.reconstruct_stages, self.late)

    def _stored(self) -> Tensors:
        resident, stages = self.resident, self.settings.reconstruct_stages
        stored = self._originals()
        label = f"levels: {self._scores}"
        scored = partial(self.scoring.levels, resident.model, self.groups, self._calibrating)
        stored |= shared(resident, label, self._scored_by, scored)
        if not stages:
            return stored
        label = f"updated weights: {self.settings.reconstruct} at {', '.join(map(str, stages))}, {self._scores}"
        updated = partial(
            reconstruct_at_stages, self.settings, resident.model, self.matrices, self.texts.calibration.tokens, stored
        )
        return stored | shared(resident, label, [*self._updated_by, stages], updated)

    def _originals(self) -> Tensors:
        """On the CPU, shared by all processes; a device copies its own faster than it would read them."""
        originals = self.scoring.originals
        on_cpu = self.resident.device.type == "cpu"
        return shared(self.resident, "original weights", [], originals) if on_cpu else originals()

    @torch.no_grad()
    def _reconstruct(self) -> None:
        label = f"updated weights: {self.settings.reconstruct} at {self.masks.sparsity:.1%}, {self._scores}"
        what = [*self._updated_by, sorted(self.masks.sparsities().items()), self.resident.forward.compiled]
        updated = cached(self.resident, label, what, self._reconstructed)
        self.masks.forget()
        for matrix in self.matrices:
            matrix.weight.copy_(updated[matrix.name])

    def _reconstructed(self) -> Tensors:
        reconstruct(self.resident, self.settings, self.masks, self.texts.calibration.tokens)
        return {matrix.name: matrix.weight.detach() for matrix in self.matrices}

    @property
    def _scores(self) -> str:
        return ", ".join(dict.fromkeys(self.scoring.describe().values()))

    @property
    def _scored_by(self) -> list[object]:
        groups = [group.name for group in self.groups] if self.settings.scope == "group" else []
        known = self.texts.calibration.identity if self.scoring.needs else None
        return [code(cuts, scores), sorted(self.scoring.describe().items()), self.scoring.code, groups, known]

    @property
    def _updated_by(self) -> list[object]:
        how = self.settings.reconstruct, self.settings.reconstruct_mask
        return [*self._scored_by, *how, self.texts.calibration.identity]
