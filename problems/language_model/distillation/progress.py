"""The progress of a training, measured on held-out windows, and its state on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self

import torch

from evoprune.plugins import finite
from evoprune.problems.language_model.distillation.loss import PARTS, DenseModel, ExactDivergence, divergence
from evoprune.problems.language_model.distillation.trainable_parameters import Train
from evoprune.problems.language_model.evaluation.measure import Measure
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.tensor_file import Tensors, read_tensors, replace_file
from evoprune.problems.language_model.results.result import DIVERGENCE, PERPLEXITY, criterion, criterion_values


def held_out_scores(
    student: Forward, teacher: DenseModel, tokens: torch.Tensor, cross_entropy: float
) -> dict[str, float]:
    """Return the perplexity on ``tokens`` ``(windows, window)``, and the divergence if ``cross_entropy`` has no weight.

    The divergence, if measured, is the criterion of the best weights.
    """
    if cross_entropy:
        return {PERPLEXITY: Measure(student, None).perplexity(tokens)}
    lost, perplexity = divergence(student, tokens, ExactDivergence(teacher, tokens))
    return {PERPLEXITY: perplexity, DIVERGENCE: lost}


@dataclass
class TrainingProgress:
    """The state of a training, except for its tensors."""

    train: Train
    schedule: list[int]
    """:attr:`steps` as decided before the first one, and after each measurement."""
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float | None]] = field(default_factory=list)
    """The first point is of the model before training."""
    best: int = 0
    """Index in ``curve`` of the best point."""

    def add(self, tokens: int, losses: torch.Tensor | None, measured: Mapping[str, float]) -> bool:
        """Add a point; return True if it is the best so far. ``losses``: means of the :data:`PARTS`."""
        parts = [None] * len(PARTS) if losses is None else map(finite, losses.tolist())
        point = {"tokens": tokens, **dict(zip(PARTS, parts, strict=True))}
        self.curve.append(point | {name: finite(value) for name, value in measured.items()})
        values = criterion_values(self.curve)
        before, self.best = self.best, min(range(len(values)), key=values.__getitem__)
        return self.best != before

    @property
    def steps(self) -> int:
        """Number of steps of the whole training, as decided last."""
        return self.schedule[-1]

    @property
    def last(self) -> str:
        """The last measurement, in words."""
        return f"held-out {criterion(self.curve)} {criterion_values(self.curve)[-1]:.5g}"

    @property
    def helped(self) -> bool:
        """True if any point is better than the model before training."""
        return self.best > 0

    @property
    def stale(self) -> int:
        """Number of measurements in a row, up to the last, without improvement over the one before.

        The first is not compared with the untrained model: early steps at high rates may make it worse.
        """
        values = criterion_values(self.curve)[1:]
        gained = [later < earlier for earlier, later in pairwise(values)]
        return gained[::-1].index(True) if True in gained else len(gained)

    def write(self, path: Path, tensors: Tensors) -> None:
        """Replace the checkpoint ``path`` atomically. Raises OSError if the disk is full."""
        replace_file(path, tensors, {"state": json.dumps(vars(self), allow_nan=False)})

    @classmethod
    def read(cls, path: Path) -> tuple[Self, Tensors] | None:
        """Return progress and tensors of the checkpoint ``path``, if there is one."""
        if not path.exists():
            return None
        tensors, about = read_tensors(path)
        return cls(**json.loads(about["state"])), tensors
