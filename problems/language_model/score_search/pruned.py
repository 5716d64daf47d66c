"""A resident model that is pruned uniformly, by one score after another."""

from functools import cached_property

import torch

from evoprune.problems.language_model.calibration.statistics import statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached
from evoprune.problems.language_model.evaluation import EvaluationSettings
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.scores.formula import ARGUMENTS, FormulaScore
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms.weights.masks import BASE, BINS, Masks
from evoprune.problems.language_model.transforms.weights.scoring import bins_of
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings
from evoprune.problems.language_model.transforms.weights.transform import Weights

_STATISTICS = sorted(name for name in ARGUMENTS.values() if name)


class _AnyScore(Weights):
    """The transform ``weights`` with a score that changes. The statistics of all formulas are measured once."""

    @classmethod
    def calibrates(cls, settings: WeightsSettings) -> bool:  # noqa: ARG003 - any formula
        return True

    @cached_property
    def measured(self) -> Tensors:
        """The statistics, by names of statistic and matrix; the model must be dense at the first use."""
        calibration = self.texts.calibration

        def build() -> Tensors:
            of_matrices = statistics(self.resident.model, calibration.tokens, self.matrices, _STATISTICS)
            return {
                f"{name} {matrix.name}": own[name].contiguous() for matrix, own in of_matrices for name in _STATISTICS
            }

        return cached(self.resident, "statistics for formulas", [_STATISTICS, calibration.identity], build)

    @torch.no_grad()
    def prune(self, score: FormulaScore, sparsity: float) -> None:
        """Remove the share ``sparsity`` of each matrix, the lowest in ``score``."""
        stored = {BASE + matrix.name: self.masks.original(matrix) for matrix in self.matrices}
        for matrix in self.matrices:
            measured = {name: self.measured[f"{name} {matrix.name}"] for name in score.needs}
            values = score(matrix.rows(stored[BASE + matrix.name]).float(), **measured)
            stored[BINS + matrix.name] = bins_of(matrix, matrix.laid_out(values).contiguous(), score.scope)
        self.masks = Masks(self.masks.groups, stored, lazy=self.lazy)
        self.apply(self.uniform(sparsity))


class Pruned:
    """The model of ``settings``, with its texts, measured with any formula as its score."""

    def __init__(self, settings: EvaluationSettings) -> None:
        self.session = Session.prepare(settings, [(_AnyScore, WeightsSettings(genes="matrix", curve=()))])
        (weights,) = self.session.transform.transforms
        assert isinstance(weights, _AnyScore)
        self._weights = weights
        _ = self._weights.measured
        _ = self.session.fitness

    def value(self, score: FormulaScore | None, sparsity: float, windows: Windows) -> float:
        """Return the objective on ``windows`` with ``sparsity``, or that of the dense model without a ``score``."""
        transform, fitness = self.session.transform, self.session.fitness
        objective = fitness.objective_on(windows, transform.dense)
        if score:
            self._weights.prune(score, sparsity)
        else:
            transform.apply(transform.dense)
        return fitness.measure.value(windows.tokens, objective)
