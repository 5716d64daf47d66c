"""A model that decodes faster on this machine: fewer heads and channels, timed beforehand."""

from __future__ import annotations

import re

from evoprune import InputError
from problems.planning.recipe import Json, Recipe, Subject, additive, narrower

_TIMED, _SHORT = 8.0, 2.0  # seconds that each level is timed, and in a short time
_LEVELS, _SCREENING = 15, 0.125  # widths and numbers of heads of a block, about; each on this share of the windows
_ROUNDS = (10, 90)  # evaluations beside those, at least and at most
_MODELS = 19  # that are timed at most: nine with other widths of MLPs, nine with other heads, and the smallest
_LENGTH = 256  # tokens before the one that is timed


class Goal(Recipe):
    """Heads and channels under a budget of milliseconds."""

    option, metavar = "--speedup", "TIMES"
    help = "make decoding so many times as fast on this machine, as in 1.5: fewer heads and channels"

    def __init__(self, value: float, timed: float = _TIMED) -> None:
        super().__init__(value)
        self._timed = timed

    @classmethod
    def read(cls, text: str) -> float:
        found = re.fullmatch(r"(\d+\.?\d*)\s*x?", text.strip())
        if not found or not 1 < float(found[1]) <= 100:
            raise InputError(f"expected how many times as fast, above 1, such as 1.5, got '{text}'", cls.option)
        return float(found[1])

    def setup_seconds(self, subject: Subject) -> float:  # noqa: ARG002 - the same for all models
        """Seconds to time the levels."""
        return _MODELS * self._timed

    def cheaper(self) -> Recipe | None:
        """Return the goal with levels that are timed for less long."""
        return Goal(self.value, _SHORT) if self._timed > _SHORT else None

    def evaluations(self, subject: Subject) -> tuple[float, float]:
        """Twice the costs of all levels, as a level takes a whole window if few are searched; and some rounds."""
        costs = 2 * _SCREENING * _LEVELS * subject.blocks
        return costs + _ROUNDS[0], costs + _ROUNDS[1]

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        """Search as is best under a limit of time (docs/structure.md)."""
        length = min(_LENGTH, subject.positions // 2)
        load = {"phase": "decode", "batch": 1, "length": length, "seconds": self._timed}
        made = narrower(subject, {"use": "milliseconds", "speedup": self.value, **load})
        return made | {"operators": additive(_SCREENING)}
