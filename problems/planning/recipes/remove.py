"""A share of the blocks' parameters is removed: fewer heads and channels, in a smaller and faster model."""

from __future__ import annotations

from problems.planning.recipe import STRUCTURE_EVALUATIONS, Json, Recipe, Subject, narrower, share


class Goal(Recipe):
    """Heads and channels under a budget of parameters."""

    option, metavar = "--remove", "SHARE"
    help = "remove a share of the blocks' parameters, as in 25%%: fewer heads and channels"

    @classmethod
    def read(cls, text: str) -> float:
        return share(text, cls.option)

    def evaluations(self, subject: Subject) -> tuple[float, float]:  # noqa: ARG002
        return STRUCTURE_EVALUATIONS

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        return narrower(subject, {"use": "parameters", "removed": self.value})
