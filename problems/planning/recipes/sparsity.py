"""A share of the weights becomes zero, chosen by gradients and activations, and the others are updated."""

from __future__ import annotations

from problems.planning.recipe import Json, Recipe, Subject, share
from problems.reconstruction import SOLVING

_SCREENING = 0.25


class Goal(Recipe):
    """As ``problems/smollm2_best.yaml``: GBLM, equal marginal costs, least squares, or a cheaper update."""

    option, metavar = "--sparsity", "SHARE"
    help = "set a share of the weights to zero, as in 0.5 or 50%%"

    def __init__(self, value: float, update: str = "least_squares") -> None:
        super().__init__(value)
        self._update = update

    @classmethod
    def read(cls, text: str) -> float:
        return share(text, cls.option)

    def needs_gradients(self, subject: Subject) -> bool:
        """If there is memory for them; else the score reads activations alone."""
        return subject.gradients is not None

    def cheaper(self) -> Recipe | None:
        """Return the goal with the next cheaper update."""
        left = list(SOLVING)[list(SOLVING).index(self._update) + 1 :]
        return Goal(self.value, left[0]) if left else None

    def update_seconds(self, subject: Subject) -> float:
        return SOLVING[self._update] * subject.inputs * subject.scored

    def evaluations(self, subject: Subject) -> tuple[float, float]:  # noqa: ARG002
        """Up to the 220 of ``problems/smollm2_best.yaml``."""
        return 12, 220

    def experiment(self, subject: Subject, evaluations: float) -> Json:
        """Genes for blocks and for kinds of matrix, if measuring the cost of each leaves most of the search."""
        probes = _SCREENING * (subject.blocks + subject.kinds)
        return {
            "problem": {
                "use": "pruning",
                "sparsity": self.value,
                "score": "gblm" if self.needs_gradients(subject) else "wanda",
                "genes": "block_and_kind" if 3 * probes <= evaluations else "block",
                "reconstruct": self._update,
                "curve": [],
            },
            "operators": {
                "algorithm": {"use": "equal_marginals", "probe": 0.08, "screening": _SCREENING},
                "mutate": {"use": "exchange", "step": 0.1, "moves": 3},
                "repair": "shift",
            },
        }
