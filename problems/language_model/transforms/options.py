"""The third interface of transforms: first genomes, facts for people, latency, teachers and presets of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evoprune import Budget, Genes
from evoprune.problems.language_model.transforms import UNIFORM

Loss = Callable[[Sequence[float], float], float]
"""The loss of a genome on a share of the search text, in nats per token."""

ModelMaker = Callable[[], tuple[Any, Sequence[float], Mapping[str, Sequence[float]]]]
"""Returns the problem that reports and exports a model, its genome, and genomes to compare it with, by name.

Raises :class:`evoprune.InputError` if there is no such model.
"""


class Options:
    """Optional abilities of a transform; all have a default."""

    if TYPE_CHECKING:  # of the transform

        @property
        def genes(self) -> Genes: ...

        @property
        def dense(self) -> list[float]: ...

        def uniform(self, share: float) -> list[float]: ...

    sparse: bool = False
    """True if it sets weights to zero in place, where they take as much room as before."""

    @property
    def late(self) -> bool:
        """True if ``apply`` only changes how layers make weights, by ``models/late.py``."""
        return False

    def references(self, share: float | None) -> dict[str, list[float]]:
        """Return uniform genomes by name to score beside the search, that of ``share`` among them unless it is None."""
        return {} if share is None else {UNIFORM: self.uniform(share)}

    def allocations(self, budget: Budget | None, loss: Loss) -> dict[str, list[float]]:  # noqa: ARG002 - a default
        """Return genomes on the ``budget`` by name that the settings ask for, found without a search."""
        return {}

    def random_genome(self, share: float | None) -> list[float]:  # noqa: ARG002 - a default
        """Draw a first genome from the global :mod:`random`. ``share``: of the uniform genome within the budget."""
        return self.genes.random()

    def initial_genomes(self) -> Sequence[list[float]]:
        """Return genomes that are known to be good, for a search to start with."""
        return []

    def measures(self) -> Mapping[str, Any]:
        """Return JSON-able facts about the model as it is now, for the history."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return JSON-able facts that a score depends on, for protocols."""
        return {}

    def remarks(self) -> list[str]:
        """Return warnings about this model, shown before the search: phrases for a line of progress."""
        return []

    def notes(self, genome: Sequence[float]) -> list[str]:  # noqa: ARG002 - figures describe most models
        """Return lines for people about the model of ``genome``."""
        return []

    def teacher(self, genome: Sequence[float]) -> list[float]:  # noqa: ARG002 - most leave the tokens as they are
        """Return the genome of the dense model that reads texts in the same tokens as that of ``genome``."""
        return self.dense

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        """Keep only the levels that are worth their time, slowest first.

        ``times``: by gene of the bare transform and by level, the milliseconds, at most 0, that it changes a pass by.
        Raises ValueError for other genes or levels.
        """
        own = {gene.name: {*map(str, gene.levels)} for gene in self.genes}
        if own != {name: {*levels} for name, levels in times.items()}:
            raise ValueError("other genes or levels")

    @classmethod
    def calibrates(cls, settings: Any) -> bool:  # noqa: ARG003 - a default
        """Return whether it reads the calibration text."""
        return False

    @classmethod
    def missing(cls, settings: Any) -> Sequence[str]:  # noqa: ARG003 - a default
        """List packages and files that it needs and that are not there, a line each; must be quick."""
        return []

    @classmethod
    def presets_alone(cls, settings: Any, alone: Callable[[Any], Any]) -> Mapping[str, ModelMaker]:  # noqa: ARG003
        """Solutions of other tools that this transform alone can make, by name.

        ``alone`` makes the problem that has no other transform, of other ``settings``, and no limit.
        """
        return {}
