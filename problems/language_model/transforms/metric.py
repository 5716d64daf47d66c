"""The transform ``metric``: single weights are removed by a score whose parts are genes."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import torch
from cachetools import LRUCache
from pydantic import Field, model_validator

from evoprune import Gene, Genes
from evoprune.problems.language_model.calibration.statistics import INPUT_NORMS, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, shared
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import Prices
from evoprune.problems.language_model.transforms.weights.masks import BASE, Masks
from evoprune.problems.language_model.transforms.weights.scoring import originals
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings
from evoprune.problems.language_model.transforms.weights.transform import Weights

_KEPT = 2**31  # bytes of the levels of metrics that are kept; those of others are computed again

Function = Callable[[torch.Tensor], torch.Tensor]


def _inverse(values: torch.Tensor) -> torch.Tensor:
    return 1 / values.clamp_min(torch.finfo(values.dtype).tiny)


def _relative(size: torch.Tensor) -> torch.Tensor:
    return _inverse(size.sum(0, keepdim=True)) + _inverse(size.sum(1, keepdim=True))


TRANSFORMS: dict[str, Function] = {
    "exp": lambda values: (values - values.max()).exp(),  # never overflows, and a factor changes no order
    "square": torch.square,
    "identity": torch.clone,
    "sqrt": torch.sqrt,
    "log": torch.log1p,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
"""From stressing large values to evening them out."""

WEIGHT_COEFFICIENTS: dict[str, Function] = {
    "sum": lambda size: _inverse(size.sum()),
    "norm": lambda size: _inverse(size.norm()),
    "row": lambda size: _inverse(size.sum(1, keepdim=True)),
    "column": lambda size: _inverse(size.sum(0, keepdim=True)),
    "relative": _relative,
    "mean": lambda size: _inverse(size.mean()),
    "one": lambda size: size.new_ones(()),
}
"""One over the sum of a matrix ``(out, in)``, its norm, the sum of each row or column, both, the mean; or 1."""

INPUT_COEFFICIENTS: dict[str, Function] = {
    "sum": lambda norms: _inverse(norms.sum()),
    "norm": lambda norms: _inverse(norms.norm()),
    "max": lambda norms: _inverse(norms.max()),
    "rms": lambda norms: _inverse(norms.square().mean().sqrt()),
    "mean": lambda norms: _inverse(norms.mean()),
    "mean_root": lambda norms: _inverse(norms.sqrt().mean().square()),
    "one": lambda norms: norms.new_ones(()),
}
"""One over the sum of the norms ``(in,)``, their norm, or a power mean of order infinity, 2, 1 or 1/2; or 1."""

PARTS: dict[str, Sequence[str]] = {
    "weight transform": tuple(TRANSFORMS),
    "weight coefficient": tuple(WEIGHT_COEFFICIENTS),
    "input transform": tuple(TRANSFORMS),
    "input coefficient": tuple(INPUT_COEFFICIENTS),
}
"""The levels of each part of a metric; neighbours are alike."""


class Metric(NamedTuple):
    """The score f(a |W_ij|) g(b ||x_j||), of transforms f and g and coefficients a and b, by their names.

    The form is that of Liu et al., "Beyond One-Size-Fits-All Pruning via Evolutionary Metric Search for Large Language
    Models" (OptiShear), 2025; the lists are ours. Wanda, and RIA with its exponent of 1/2, are among the metrics.
    """

    weight_transform: str = "identity"
    weight_coefficient: str = "one"
    input_transform: str = "identity"
    input_coefficient: str = "one"

    @classmethod
    def of(cls, genome: Sequence[float]) -> Self:
        return cls(*(levels[int(value)] for levels, value in zip(PARTS.values(), genome, strict=True)))

    @property
    def genome(self) -> list[float]:
        return [float(levels.index(part)) for levels, part in zip(PARTS.values(), self, strict=True)]

    def __str__(self) -> str:
        weight, coefficient, inputs, other = self
        return f"{weight}(|W| {coefficient}) {inputs}(|x| {other})"

    def score(self, weight: torch.Tensor, input_norms: torch.Tensor) -> torch.Tensor:
        """Return the scores of ``weight`` ``(out, in)``, for ``input_norms`` ``(in,)``; finite if both are."""
        size, norms = weight.abs(), input_norms
        of_weights = TRANSFORMS[self.weight_transform](size * WEIGHT_COEFFICIENTS[self.weight_coefficient](size))
        return of_weights * TRANSFORMS[self.input_transform](norms * INPUT_COEFFICIENTS[self.input_coefficient](norms))


class MetricSettings(WeightsSettings):
    """The settings of ``weights`` without a score, which is searched, and without stages, which need one."""

    score: str = Field("wanda", description="not to be given: it is searched, from that of Wanda on")

    @model_validator(mode="after")
    def _searched(self) -> Self:
        refused = sorted({"experts", "score", "reconstruct_stages", "allocations"} & self.model_fields_set)
        if refused:
            raise ValueError(f"metric searches the score itself: leave out {', '.join(refused)}")
        return self


class SearchedScore(Weights):
    """Set weights to zero, by a score that is searched: four genes choose its parts, the others are sparsities::

        transforms: {use: metric}
        budget: {use: weights, removed: 0.45}

    The score is a :class:`Metric`, at first Wanda's.
    """

    Settings = MetricSettings
    settings: MetricSettings

    def __init__(self, resident: Resident, settings: MetricSettings, texts: Texts | None) -> None:
        self._metric = Metric()
        super().__init__(resident, settings, texts)
        of_metric = [Gene.of_levels(name, levels, "metric") for name, levels in PARTS.items()]
        self._genes = Genes([*of_metric, *self.sparsities.genes])
        size = 2 * resident.prunable_weights  # bytes of the levels
        self._recent: LRUCache[Metric, Masks] = LRUCache(_KEPT, lambda _: min(_KEPT, size))

    @property
    def genes(self) -> Genes:
        return self._genes

    @property
    def dense(self) -> list[float]:
        return self.uniform(0.0)

    def uniform(self, share: float) -> list[float]:
        return [*Metric().genome, *super().uniform(share)]

    def random_genome(self, share: float | None) -> list[float]:  # noqa: ARG002 - any sparsity
        return self.genes.random()

    def apply(self, genome: Sequence[float]) -> None:
        metric = Metric.of(genome[: len(PARTS)])
        if metric != self._metric:
            if metric not in self._recent:
                self._recent[metric] = Masks(self.groups, self._levels(metric), late=self.late)
            self._metric, self.masks = metric, self._recent[metric]
            self.masks.forget()
        super().apply(genome[len(PARTS) :])

    def block_fingerprints(self) -> Sequence[Hashable]:
        return [(self._metric, cuts) for cuts in super().block_fingerprints()]

    def prices(self, unit: str) -> Prices:
        prices, fixed = super().prices(unit)
        return [*(0.0 for _ in PARTS), *prices], fixed

    def measures(self) -> dict[str, Any]:
        return super().measures() | {"metric": str(self._metric)}

    def describe(self) -> dict[str, Any]:
        parts = {part: list(names) for part, names in PARTS.items()}
        return super().describe() | {"score": f"searched by {self.scoring.scope}", "metrics": parts}

    def _stored(self) -> Tensors:
        self._originals, calibration = originals(self.resident, self.matrices), self.texts.calibration

        def gathered() -> Tensors:
            known = statistics(self.resident.model, calibration.tokens, self.matrices, {INPUT_NORMS})
            return {matrix.name: of_matrix[INPUT_NORMS] for matrix, of_matrix in known}

        self._norms = shared(self.resident, "norms of inputs", [calibration.identity], gathered)
        return self._levels(self._metric)

    def _levels(self, metric: Metric) -> Tensors:
        """Return the original weights, and their levels by ``metric``."""

        def scored() -> Iterator[tuple[Matrix, torch.Tensor]]:
            for matrix in self.matrices:
                weight = matrix.rows(self._originals[BASE + matrix.name]).float()
                yield matrix, matrix.rows(metric.score(weight, self._norms[matrix.name])).contiguous()

        return self._originals | self.scoring.levels(scored())

    @property
    def _scored_by(self) -> tuple[str, list[object]]:
        return str(self._metric), [*super()._scored_by[1], self._metric]
