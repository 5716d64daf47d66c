"""The transforms of a session as one: their genes stand side by side under one budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evoprune import Budget
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.options import Loss
from evoprune.problems.language_model.transforms.stack.costs import StackCosts
from evoprune.problems.language_model.transforms.stack.form import StackForm


class Stack(StackForm, StackCosts):
    """One or several transforms: the models of genomes, their final form, their costs, and facts about them."""

    @property
    def late(self) -> bool:
        return self._alone is not None and self._alone.late

    def references(self, share: float | None) -> dict[str, list[float]]:
        """Return uniform genomes by name to score beside the search, that of ``share`` among them unless it is None."""
        if self._alone:
            return self._alone.references(share)
        return {} if share is None else {UNIFORM: self.uniform(share)}

    def allocations(self, budget: Budget | None, loss: Loss) -> dict[str, list[float]]:
        """Return genomes on the ``budget`` by name that the settings ask for, found without a search."""
        return self._alone.allocations(budget, loss) if self._alone else {}

    def random_genome(self, share: float | None) -> list[float]:
        """Draw a first genome. ``share``: of the uniform genome within the budget, if there is one."""
        return self._alone.random_genome(share) if self._alone else self.genes.random()

    def initial_genomes(self) -> Sequence[list[float]]:
        """Return the initial genomes of each transform, with no other change."""
        dense = self.dense
        with self._made_dense():
            return [
                [*dense[: own.start], *known, *dense[own.stop :]]
                for transform, own in zip(self.transforms, self._slices, strict=True)
                for known in transform.initial_genomes()
            ]

    def measures(self) -> dict[str, Any]:
        return {name: value for transform in self.transforms for name, value in transform.measures().items()}

    def describe(self) -> dict[str, Any]:
        if self._alone:
            return self._alone.describe()
        return {type(transform).__name__: transform.describe() for transform in self.transforms}

    def remarks(self) -> list[str]:
        return [*dict.fromkeys(remark for transform in self.transforms for remark in transform.remarks())]

    def notes(self, genome: Sequence[float]) -> list[str]:
        return [line for each, own in self._split(genome) for line in each.notes(own)]

    def teacher(self, genome: Sequence[float]) -> list[float]:
        return [value for each, own in self._split(genome) for value in each.teacher(own)]

    def bare(self) -> Stack:
        """The same transforms of the same model, which must be dense, without texts; with all levels there may be."""
        return Stack([each.bare() for each in self.transforms])

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        if times.keys() != set(self.genes.names):
            raise ValueError("other genes")
        for transform in self.transforms:
            transform.use_times({gene.name: times[gene.name] for gene in transform.genes})
        self.genes = self._genes_of_all()
