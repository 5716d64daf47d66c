"""Scores of weights, and the bins of their ranks, which masks compare with a threshold."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

import evoprune.problems.language_model.scores as scores
import evoprune.problems.language_model.transforms as transforms
from evoprune import InputError
from evoprune.problems.language_model.calibration.statistics import statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached, code
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.scores import find_score, needs, scope_of, source
from evoprune.problems.language_model.scores.formula import FormulaSettings
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.weights.masks import (
    BASE,
    BINS,
    bins,
    ranks_in_matrix,
    ranks_in_rows,
)


class Scoring:
    """Scores the weights of ``matrices`` by the score ``name``, or a formula; ``texts``: None if it needs no text."""

    def __init__(self, matrices: Iterable[Matrix], name: str | FormulaSettings, texts: Texts | None) -> None:
        self._matrices, self._name, self._score = list(matrices), name, find_score(name)
        self._needs, self.scope = needs(self._score), scope_of(self._score)
        self.label = f"{name} by {self.scope}"
        read = texts.calibration if texts and self._needs else None
        self._tokens = read.tokens if read else torch.empty(0, 1, dtype=torch.int64)
        self.key = [code(transforms, scores), self.label, source(self._score), read.identity if read else None]
        """Key of cached results, with the source code, since other versions of a score have the same name."""

    def scores(self, model: Any) -> Iterator[tuple[Matrix, torch.Tensor]]:
        """Yield each matrix of ``model`` and its scores: float32, in the layer's layout."""
        for matrix, measured in statistics(model, self._tokens, self._matrices, self._needs):
            weight = matrix.rows(matrix.weight.detach()).float()
            values = self._score(weight, **measured)
            if values.shape != weight.shape or not torch.isfinite(values).all():
                why = f"'{self._name}' gives {matrix.name} not one finite score for each weight"
                raise InputError(why, "problem.score")
            yield matrix, matrix.laid_out(values).contiguous()

    def bins(self, model: Any) -> Tensors:
        """Return the bins of the ranks of the weights of each matrix of ``model``."""
        stored: Tensors = {}
        for matrix, score in self.scores(model):
            stored[BINS + matrix.name] = bins_of(matrix, score, self.scope)
        return stored


def bins_of(matrix: Matrix, score: torch.Tensor, scope: str) -> torch.Tensor:
    """Return the bins of the ranks of a ``score``, in the layout of ``matrix``."""
    by_row = scope == "row"
    ranks = matrix.laid_out(ranks_in_rows(matrix.rows(score))) if by_row else ranks_in_matrix(score)
    return bins(ranks).contiguous()


def original_weights(resident: Resident, matrices: Iterable[Matrix]) -> Tensors:
    """Return copies of the loaded weights; on a CPU in files that all processes share, else on the device."""

    def build() -> Tensors:
        return {BASE + matrix.name: matrix.weight.detach().clone() for matrix in matrices}

    return cached(resident, "original weights", [], build) if resident.device.type == "cpu" else build()
