"""The progress of a training, measured on held-out windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from evoprune.files.json_files import finite
from evoprune.problems.language_model.distillation.loss import PARTS, divergence
from evoprune.problems.language_model.distillation.targets import DenseModel
from evoprune.problems.language_model.evaluation.measure import Measure
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.results.learning_curve import DIVERGENCE, PERPLEXITY, criterion, criterion_values


def held_out_scores(
    student: Forward, teacher: DenseModel, tokens: torch.Tensor, cross_entropy: float
) -> dict[str, float]:
    """Perplexity on ``tokens`` ``(windows, window)``; also the divergence, then the criterion, if it alone is learned.

    ``cross_entropy``: its weight in the loss.
    """
    if cross_entropy:
        return {PERPLEXITY: Measure(student, None).perplexity(tokens)}
    found, perplexity = divergence(student, teacher, tokens)
    return {PERPLEXITY: perplexity, DIVERGENCE: found}


@dataclass
class Progress:
    """The part of a checkpoint that is not tensors."""

    steps: int
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float | None]] = field(default_factory=list)
    """The first point is of the model as it was given."""
    best: int = 0
    """Index in ``curve`` of the best point."""

    def add(self, tokens: int, losses: torch.Tensor | None, measured: Mapping[str, float]) -> bool:
        """Add a point; return whether it is the best so far. ``losses``: as :class:`Student` returns them."""
        parts = [None] * len(PARTS) if losses is None else map(finite, losses.tolist())
        point = {"tokens": tokens, **dict(zip(PARTS, parts, strict=True))}
        self.curve.append(point | {name: finite(value) for name, value in measured.items()})
        values = criterion_values(self.curve)
        before, self.best = self.best, min(range(len(values)), key=values.__getitem__)
        return self.best != before

    @property
    def last(self) -> str:
        """The last measurement, for people."""
        return f"held-out {criterion(self.curve)} {criterion_values(self.curve)[-1]:.5g}"

    @property
    def helped(self) -> bool:
        """True if any point is better than the model as it was given."""
        return self.best > 0

    @property
    def stale(self) -> int:
        """Number of measurements in a row, up to the last, without improvement over the one before.

        The first steps may make a model worse, and later ones, at lower rates, better again; so the model as it was
        given does not count.
        """
        values = criterion_values(self.curve)[1:]
        gained = [later < earlier for earlier, later in pairwise(values)]
        return gained[::-1].index(True) if True in gained else len(gained)
