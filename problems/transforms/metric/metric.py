"""Metrics: scores of weights that are put together from parts, so that a search can choose each part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from evoprune import Gene

Function = Callable[[torch.Tensor], torch.Tensor]


def _inverse(values: torch.Tensor) -> torch.Tensor:
    """1 over ``values``; finite where they are 0, as in a row of zeros."""
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
"""From those that stress large values to those that even them out."""

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
"""One over the sum of the norms ``(in,)``, their own norm, or a power mean of order infinity, 2, 1 or 1/2; or 1."""

PARTS: dict[str, Sequence[str]] = {
    "weight transform": tuple(TRANSFORMS),
    "weight coefficient": tuple(WEIGHT_COEFFICIENTS),
    "input transform": tuple(TRANSFORMS),
    "input coefficient": tuple(INPUT_COEFFICIENTS),
}
"""What each part of a metric can be; neighbours are alike."""


class Metric(NamedTuple):
    """The score f(a |W_ij|) g(b ||x_j||), of transforms f and g and coefficients a and b, by their names.

    The form is that of the meta pruning metric of Liu et al., "Beyond One-Size-Fits-All Pruning via Evolutionary Metric
    Search for Large Language Models" (OptiShear), 2025; the lists are ours. Coefficients are inside of transforms: a
    number for a whole matrix, as a factor of the score, would change no order of its weights. Wanda, and RIA with its
    exponent of 1/2, are among the metrics.
    """

    weight_transform: str = "identity"
    weight_coefficient: str = "one"
    input_transform: str = "identity"
    input_coefficient: str = "one"

    @classmethod
    def genes(cls) -> list[Gene]:
        """A gene for each part."""
        return [Gene.of_levels(name, levels, "metric") for name, levels in PARTS.items()]

    @classmethod
    def of(cls, genome: Sequence[float]) -> Metric:
        """The metric whose parts have the levels ``genome``."""
        return cls(*(levels[int(value)] for levels, value in zip(PARTS.values(), genome, strict=True)))

    @property
    def genome(self) -> list[float]:
        """The level of each part."""
        return [float(levels.index(part)) for levels, part in zip(PARTS.values(), self, strict=True)]

    def __str__(self) -> str:
        weight, coefficient, inputs, other = self
        return f"{weight}(|W| {coefficient}) {inputs}(|x| {other})"

    def score(self, weight: torch.Tensor, input_norms: torch.Tensor) -> torch.Tensor:
        """The scores of ``weight`` ``(out, in)``, for ``input_norms`` ``(in,)``; float32, and finite if these are."""
        size = weight.abs()
        of_weights = TRANSFORMS[self.weight_transform](size * WEIGHT_COEFFICIENTS[self.weight_coefficient](size))
        of_inputs = TRANSFORMS[self.input_transform](
            input_norms * INPUT_COEFFICIENTS[self.input_coefficient](input_norms)
        )
        return of_weights * of_inputs
