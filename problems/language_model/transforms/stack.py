"""The transforms of a session as one: their genes follow each other under one budget, and types come last."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

from evoprune import Budget, InputError
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.stack_costs import StackCosts
from evoprune.problems.language_model.transforms.transform import Transform

Kind = TypeVar("Kind", bound=Transform)

_MOST_INITIAL = 3  # each is scored on all data
_STEPS = 10**6  # of the shares that the uniform genome is chosen from, so that 45% is one


class Stack(StackCosts):
    """One or several transforms: the models of genomes, their final form, their costs, and facts about them."""

    @property
    def updates(self) -> bool:
        return any(transform.updates for transform in self.transforms)

    def finalise(self, genome: Sequence[float]) -> None:
        self._cut(genome, final=True)
        self._lay(genome)

    @property
    def plain(self) -> bool:
        return all(transform.plain for transform in self.transforms)

    def write(self, model: Any) -> None:
        for transform in self.transforms:
            if self.plain or not transform.replayed:
                transform.write(model)

    def remaining_tokens(self, genome: Sequence[float]) -> Sequence[int] | None:
        remaining = (each.remaining_tokens(own) for each, own in self._split(genome))
        return next((tokens for tokens in remaining if tokens is not None), None)

    @property
    def loses_tokens(self) -> bool:
        """True if a genome may leave fewer tokens."""
        return any(transform.vocabularies for transform in self.transforms)

    @property
    def cuts_blocks(self) -> bool:
        """True if blocks change by more than types."""
        return any(each is not self._types and not each.vocabularies for each in self.transforms)

    def same_but_types(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Return whether two genomes have the same genes, but for the last, which choose types."""
        shaping = slice(self._slices[-1].start if self._types else None)
        return [*one[shaping]] == [*other[shaping]]

    def replayed(self, genome: Sequence[float]) -> list[float]:
        """Return the genes of ``genome`` by which a ragged folder is read."""
        return [value for each, own in self._split(genome) if each.replayed for value in own]

    @property
    def has_types(self) -> bool:
        """True if matrices are stored in quantised types."""
        return self._types is not None

    def encoded(self) -> Mapping[str, Encoded]:
        return self._types.encoded() if self._types else {}

    def encode(self, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:
        """As :meth:`encoded`, for a ``model`` that was trained before its matrices are quantised as in ``genome``."""
        if self._types is None:
            return {}
        return self._types.encode(model, genome[self._slices[-1]], self._remaining(genome))

    def unround(self) -> None:
        """Put back the weights that cuts leave, in place of weights in types."""
        if self._types:
            self._types.swap_out()

    @property
    def importance(self) -> Mapping[str, Tensor]:
        """The importance of the inputs of matrices, by name, that types are made with; empty for none."""
        return self._types.errors.importance if self._types else {}

    @property
    def base_path(self) -> str | None:
        return self._types.settings.base if self._types else None

    @property
    def sparse(self) -> bool:
        return any(each.sparse for each in self.transforms)

    @property
    def late(self) -> bool:
        return self._alone is not None and self._alone.late

    def part(self, kind: type[Kind]) -> Kind | None:
        """Return the transform of the class ``kind``, if there is one."""
        return next((each for each in self.transforms if isinstance(each, kind)), None)

    def uniform(self, share: float) -> list[float]:
        return [value for transform in self.transforms for value in transform.uniform(share)]

    def block_fingerprints(self) -> Sequence[Hashable]:
        return list(zip(*(transform.block_fingerprints() for transform in self.transforms), strict=True))

    def references(self, share: float | None) -> dict[str, list[float]]:
        """Return uniform genomes by name, which are scored too; the last has the ``share`` unless it is None."""
        if self._alone:
            return self._alone.references(share)
        return {} if share is None else {UNIFORM: self.uniform(share)}

    def random_genome(self, share: float | None) -> list[float]:
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
        return {name: value for transform in self.transforms for name, value in transform.describe().items()}

    def remarks(self) -> list[str]:
        return [*dict.fromkeys(remark for transform in self.transforms for remark in transform.remarks())]

    def notes(self, genome: Sequence[float]) -> list[str]:
        return [line for each, own in self._split(genome) for line in each.notes(own)]

    def teacher(self, genome: Sequence[float]) -> list[float]:
        return [value for each, own in self._split(genome) for value in each.teacher(own)]

    def bare(self) -> Stack:
        """Return the same transforms of the same model, which must be dense, without texts and with all levels."""
        return Stack([each.bare() for each in self.transforms])

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        if times.keys() != set(self.genes.names):
            raise ValueError("other genes")
        for transform in self.transforms:
            transform.use_times({gene.name: times[gene.name] for gene in transform.genes})
        self.genes = self._genes_of_all()


def uniform_share(transform: Stack, budget: Budget) -> float:
    """Return the least share by which the uniform genome of ``transform`` keeps the ``budget``, to a millionth."""
    try:
        budget.check_reachable()
    except ValueError as error:
        raise InputError(str(error), "problem.budget") from None
    steps = range(_STEPS + 1)
    return bisect_left(steps, True, key=lambda step: budget.within(transform.uniform(step / _STEPS))) / _STEPS


def initial_within(transform: Stack, budget: Budget) -> list[list[float]]:
    """Return the initial genomes of ``transform`` within the ``budget``: the few that spend the most."""
    within = dict.fromkeys(tuple(genome) for genome in transform.initial_genomes() if budget.within(genome))
    return list(map(list, sorted(within, key=budget.spent, reverse=True)[:_MOST_INITIAL]))
