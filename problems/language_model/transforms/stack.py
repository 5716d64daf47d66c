"""The transforms of a session as one: their genes are concatenated under one budget, with types last."""

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

_MOST_INITIAL = 3  # initial genomes, since each is scored on all data
_STEPS = 10**6  # between shares of uniform genomes, so that 45% is one of them


class StackForm(StackCosts):
    """The final form of the models of genomes; see :class:`.transform.ModelChange`."""

    @property
    def updates(self) -> bool:
        return any(transform.updates for transform in self.transforms)

    def finalise(self, genome: Sequence[float]) -> None:
        self._prune(genome, final=True)
        self._quantise(genome)

    @property
    def plain(self) -> bool:
        return all(transform.plain for transform in self.transforms)

    def write(self, model: Any) -> None:
        for transform in self.transforms:
            if self.plain or not transform.replayed:
                transform.write(model)

    def remaining_tokens(self, genome: Sequence[float]) -> Sequence[int] | None:
        remaining = (transform.remaining_tokens(genes) for transform, genes in self._split(genome))
        return next((tokens for tokens in remaining if tokens is not None), None)

    @property
    def prunes_vocabulary(self) -> bool:
        """True if genomes may remove tokens."""
        return any(transform.vocabularies for transform in self.transforms)

    @property
    def prunes_blocks(self) -> bool:
        """True if blocks are changed by more than types."""
        return any(cut is not self._types and not cut.vocabularies for cut in self.transforms)

    def differ_in_types_only(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Return whether two genomes are equal except for the last genes, which choose types."""
        shaping = slice(self._slices[-1].start if self._types else None)
        return [*one[shaping]] == [*other[shaping]]

    def replayed_genes(self, genome: Sequence[float]) -> list[float]:
        """Return the genes of ``genome`` that are needed to load a ragged folder."""
        return [value for transform, genes in self._split(genome) if transform.replayed for value in genes]

    @property
    def has_types(self) -> bool:
        """True if matrices are quantised."""
        return self._types is not None

    def encoded(self) -> Mapping[str, Encoded]:
        return self._types.encoded() if self._types else {}

    def encode(self, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:
        """Quantise a trained ``model`` to the types of ``genome``; return as :meth:`encoded`."""
        if self._types is None:
            return {}
        return self._types.encode(model, genome[self._slices[-1]], self._remaining(genome))

    def swap_out_types(self) -> None:
        """Put back the pruned weights in place of quantised copies."""
        if self._types:
            self._types.swap_out()

    @property
    def importance(self) -> Mapping[str, Tensor]:
        """Importance of the inputs of matrices, by name, that quantisation uses; may be empty."""
        return self._types.errors.importance if self._types else {}

    @property
    def base_path(self) -> str | None:
        return self._types.settings.base if self._types else None


class Stack(StackForm):
    """One or several transforms: the models of genomes, their final form, their costs, and facts about them."""

    @property
    def sparse(self) -> bool:
        return any(transform.sparse for transform in self.transforms)

    @property
    def lazy(self) -> bool:
        return self._single is not None and self._single.lazy

    def find(self, kind: type[Kind]) -> Kind | None:
        """Return the transform of class ``kind``, if there is one."""
        return next((transform for transform in self.transforms if isinstance(transform, kind)), None)

    def uniform(self, share: float) -> list[float]:
        return [value for transform in self.transforms for value in transform.uniform(share)]

    def block_fingerprints(self) -> Sequence[Hashable]:
        return list(zip(*(transform.block_fingerprints() for transform in self.transforms), strict=True))

    def references(self, share: float | None) -> dict[str, list[float]]:
        """See :meth:`.transform.Transform.references`."""
        if self._single:
            return self._single.references(share)
        return {} if share is None else {UNIFORM: self.uniform(share)}

    def random_genome(self, share: float | None) -> list[float]:
        return self._single.random_genome(share) if self._single else self.genes.random()

    def initial_genomes(self) -> Sequence[list[float]]:
        """Return the initial genomes of each transform, with the others dense."""
        dense = self.dense
        with self._temporarily_dense():
            return [
                [*dense[: part.start], *genes, *dense[part.stop :]]
                for transform, part in zip(self.transforms, self._slices, strict=True)
                for genes in transform.initial_genomes()
            ]

    def measures(self) -> dict[str, Any]:
        return {name: value for transform in self.transforms for name, value in transform.measures().items()}

    def describe(self) -> dict[str, Any]:
        return {name: value for transform in self.transforms for name, value in transform.describe().items()}

    def remarks(self) -> list[str]:
        return [*dict.fromkeys(remark for transform in self.transforms for remark in transform.remarks())]

    def notes(self, genome: Sequence[float]) -> list[str]:
        return [line for transform, genes in self._split(genome) for line in transform.notes(genes)]

    def teacher(self, genome: Sequence[float]) -> list[float]:
        return [value for transform, genes in self._split(genome) for value in transform.teacher(genes)]

    def bare(self) -> Stack:
        """See :meth:`.transform.Transform.bare`."""
        return Stack([transform.bare() for transform in self.transforms])

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        if times.keys() != set(self.genes.names):
            raise ValueError("other genes")
        for transform in self.transforms:
            transform.use_times({gene.name: times[gene.name] for gene in transform.genes})
        self.genes = self._all_genes()


def uniform_share(transform: Stack, budget: Budget) -> float:
    """Return the least share, to a millionth, whose uniform genome is within the ``budget``."""
    try:
        budget.check_reachable()
    except ValueError as error:
        raise InputError(str(error), "problem.budget") from None
    steps = range(_STEPS + 1)
    return bisect_left(steps, True, key=lambda step: budget.within(transform.uniform(step / _STEPS))) / _STEPS


def initial_within(transform: Stack, budget: Budget) -> list[list[float]]:
    """Return the initial genomes of ``transform`` within the ``budget``: at most the three that spend the most."""
    within = dict.fromkeys(tuple(genome) for genome in transform.initial_genomes() if budget.within(genome))
    return list(map(list, sorted(within, key=budget.spent, reverse=True)[:_MOST_INITIAL]))
