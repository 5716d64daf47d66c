"""A share of the blocks' parameters goes: fewer heads and channels, in a smaller and faster model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from problems.planning.recipe import Json, Recipe, share
from problems.planning.structure import EVALUATIONS, narrower

if TYPE_CHECKING:
    from problems.planning.subject import Subject


class Goal(Recipe):
    """Heads and channels under a budget of parameters."""

    option, metavar = "--remove", "SHARE"
    help = "remove a share of the blocks' parameters, as in 25%%: fewer heads and channels"

    @classmethod
    def read(cls, text: str) -> float:
        """A share."""
        return share(text, cls.option)

    def evaluations(self, subject: Subject) -> tuple[float, float]:  # noqa: ARG002
        """Those of the structure."""
        return EVALUATIONS

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        """The structure."""
        return narrower(subject, {"use": "parameters", "removed": self.value})
