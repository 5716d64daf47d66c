"""Our way: the problem, as a search uses it."""

from __future__ import annotations

from problems.language_model.problem import Pruning
from problems.language_model.settings import PruningSettings
from tests.benchmarks.ways import Way


class Ours(Way):
    """The pruning problem with the settings given."""

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings)
        self._problem = Pruning(settings)

    def genes(self) -> int:
        """See :meth:`Way.genes`."""
        return len(self._problem.genes)

    def score(self, genome: list[float], windows: int | None = None) -> float:
        """See :meth:`Way.score`."""
        fidelity = windows / len(self._problem.session.texts.search.tokens) if windows else 1.0
        return self._problem.evaluate(genome, fidelity).values[0]

    def forget(self) -> None:
        """On a grid of few levels, unrelated candidates would often agree in their first block by chance."""
        self._problem.session.fitness._states.clear()


class Compiled(Ours):
    """The same with ``compile: true``."""

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings.model_copy(update={"compile": True}))
