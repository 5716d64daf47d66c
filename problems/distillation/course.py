"""How far a training is, and which of its weights are the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from evoprune import finite
from problems.distillation.held_out import WORDS, judged, judged_by


@dataclass
class Course:
    """What the checkpoints of a training hold besides tensors."""

    steps: int
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float | None]] = field(default_factory=list)
    """The first point is of the model as it was given."""
    best: int = 0
    """The place in ``curve`` of the best."""

    def add(self, tokens: int, losses: torch.Tensor | None, measured: Mapping[str, float]) -> bool:
        """Add a measurement, ``measured`` on held-out windows; whether it is the best so far."""
        divergence, cross_entropy, hidden = map(finite, losses.tolist()) if losses is not None else (None, None, None)
        point = {"tokens": tokens, "divergence": divergence, "cross_entropy": cross_entropy, "hidden": hidden}
        self.curve.append(point | {name: finite(value) for name, value in measured.items()})
        values = judged(self.curve)
        before, self.best = self.best, min(range(len(values)), key=values.__getitem__)
        return self.best != before

    @property
    def last(self) -> str:
        """The last measurement in words."""
        return f"held-out {WORDS[judged_by(self.curve)]} {judged(self.curve)[-1]:.5g}"

    @property
    def helped(self) -> bool:
        """Whether any measurement is better than that of the model as it was given."""
        return self.best > 0

    @property
    def stale(self) -> int:
        """How many measurements of trained weights in a row, up to the last, were no better than the one before.

        Where little was lost, the first steps make the model worse, and later ones, at lower rates, better again; and
        one measurement may be off.
        """
        values = judged(self.curve)[1:]
        gained = [later < earlier for earlier, later in pairwise(values)]
        return gained[::-1].index(True) if True in gained else len(gained)
