"""A model that decodes faster on this machine: fewer heads and channels, timed beforehand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from evoprune import InputError
from problems.language_model.prune.recipe import Json, Recipe
from problems.language_model.prune.structure import EVALUATIONS, narrower

if TYPE_CHECKING:
    from problems.language_model.prune.subject import Subject

_TIMED, _SHORT = 8.0, 2.0
"""Seconds that each level is timed, and where the time given is short."""

_MODELS = 19
"""How many are timed at most: nine with other widths of the MLPs, nine with other heads, and the smallest."""

_LENGTH = 256
"""Tokens before the one that is timed."""


class Goal(Recipe):
    """Heads and channels under a budget of milliseconds."""

    option, metavar = "--speedup", "TIMES"
    help = "make decoding so many times as fast on this machine, as in 1.5: fewer heads and channels"

    def __init__(self, value: float, timed: float = _TIMED) -> None:
        super().__init__(value)
        self._timed = timed

    @classmethod
    def read(cls, text: str) -> float:
        """A factor above 1."""
        found = re.fullmatch(r"(\d+\.?\d*)\s*x?", text.strip())
        if not found or not 1 < float(found[1]) <= 100:
            raise InputError(f"expected how many times as fast, above 1, such as 1.5, got '{text}'", cls.option)
        return float(found[1])

    def seconds_before(self, subject: Subject, one_file: bool) -> float:  # noqa: ARG002 - the same for all models
        """Timing."""
        return _MODELS * self._timed

    def cheaper(self) -> Recipe | None:
        """With levels that are timed for less long."""
        return Goal(self.value, _SHORT) if self._timed > _SHORT else None

    def evaluations(self, subject: Subject, one_file: bool) -> tuple[float, float]:  # noqa: ARG002
        """Those of the structure."""
        return EVALUATIONS

    def experiment(self, subject: Subject, evaluations: float, one_file: bool) -> Json:  # noqa: ARG002
        """The structure."""
        length = min(_LENGTH, subject.positions // 2)
        load = {"phase": "decode", "batch": 1, "length": length, "seconds": self._timed}
        return narrower(subject, {"use": "milliseconds", "speedup": self.value, **load})
