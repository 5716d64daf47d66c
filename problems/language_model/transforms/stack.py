"""The transforms of a session as one: their genes are concatenated, and a form comes last."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate, combinations, pairwise
from typing import Any, TypeVar

from evoprune import Genes
from evoprune.problems.language_model.transforms.form import Encoded, Form, check_pair
from evoprune.problems.language_model.transforms.stack_costs import StackCosts, coupled_shapes
from evoprune.problems.language_model.transforms.transform import KeptIndices, Transform

Kind = TypeVar("Kind", bound=Transform)


class Stack:
    """Applies ``transforms``, one or several, which change different parts, to one resident model.

    ``costs`` counts the costs of genomes; ``facts`` are for protocols and people; ``form`` chooses
    the form in which matrices are stored, if there is one.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        """Raise :class:`evoprune.InputError` for transforms that cannot be combined."""
        for pair in combinations(transforms, 2):
            check_pair(*pair)
        self.resident = transforms[0].resident
        cuts = [transform for transform in transforms if not isinstance(transform, Form)]
        # at most one, since two would change the same part
        self.form = next((transform for transform in transforms if isinstance(transform, Form)), None)
        self.transforms = [*cuts, self.form] if self.form else cuts
        shapes = coupled_shapes(cuts, self.form)
        if self.form and shapes:
            self.form.fit(shapes)
        self.genes = _joint_genes(self.transforms)
        ends = accumulate((len(transform.genes) for transform in self.transforms), initial=0)
        self.places = [slice(begin, end) for begin, end in pairwise(ends)]
        """The genes of each transform."""
        self.costs = StackCosts(self, cuts, self.form, shapes)
        self.facts = StackFacts(self.transforms)
        self._applied = self.dense

    @property
    def dense(self) -> list[float]:
        return [value for transform in self.transforms for value in transform.dense]

    def split(self, genome: Sequence[float]) -> list[tuple[Transform, Sequence[float]]]:
        """Return each transform with its genes of ``genome``."""
        return [(transform, genome[part]) for transform, part in zip(self.transforms, self.places, strict=True)]

    def find(self, kind: type[Kind]) -> Kind | None:
        """Return the transform of class ``kind``, if there is one."""
        return next((transform for transform in self.transforms if isinstance(transform, kind)), None)

    def finalise(self, genome: Sequence[float]) -> None:
        self.apply(genome, final=True)

    def apply(self, genome: Sequence[float], final: bool = False) -> None:
        self._applied = list(genome)
        if self.form:
            self.form.swap_out()
        split = self.split(genome)
        cuts = split[:-1] if self.form else split
        for cut, genes in cuts:
            cut.apply(genes)
        for cut, genes in cuts if final else ():
            cut.finalise(genes)
        if self.form:
            self.form.swap_in(split[-1][1], self._kept_indices(genome))

    def _kept_indices(self, genome: Sequence[float]) -> KeptIndices:
        split = self.split(genome)
        inputs = {name: indices for cut, genes in split for name, indices in cut.remaining_inputs(genes).items()}
        rows = {name: indices for cut, genes in split for name, indices in cut.remaining_rows(genes).items()}
        return KeptIndices(inputs, rows)

    @contextmanager
    def temporarily_dense(self) -> Iterator[None]:
        before = self._applied
        self.apply(self.dense)
        try:
            yield
        finally:
            self.apply(before)

    def block_fingerprints(self) -> Sequence[Hashable]:
        return list(zip(*(transform.block_fingerprints() for transform in self.transforms), strict=True))

    def encoded(self) -> Mapping[str, Encoded]:
        """Return the parameters that are quantised now, by name."""
        return self.form.encoded() if self.form else {}

    def encode(self, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:
        """Quantise a trained ``model`` to the types of ``genome``; return as :meth:`encoded`."""
        if self.form is None:
            return {}
        return self.form.encode(model, genome[self.places[-1]], self._kept_indices(genome))

    def write(self, model: Any) -> None:
        """Prepare ``model``, a copy of the final one, for saving; see :meth:`.transform.Transform.write`."""
        for transform in self.transforms:
            if self.facts.plain or not transform.replayed:
                transform.write(model)

    def replayed_genes(self, genome: Sequence[float]) -> list[float]:
        """Return the genes of ``genome`` that are needed to load a ragged folder."""
        return [value for transform, genes in self.split(genome) if transform.replayed for value in genes]

    def remaining_tokens(self, genome: Sequence[float]) -> Sequence[int] | None:
        remaining = (transform.remaining_tokens(genes) for transform, genes in self.split(genome))
        return next((tokens for tokens in remaining if tokens is not None), None)

    def differ_in_form_only(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Return whether two genomes are equal except for the genes of the form."""
        shaping = slice(self.places[-1].start if self.form else None)
        return [*one[shaping]] == [*other[shaping]]

    def notes(self, genome: Sequence[float]) -> list[str]:
        return [line for transform, genes in self.split(genome) for line in transform.notes(genes)]

    def teacher(self, genome: Sequence[float]) -> list[float]:
        return [value for transform, genes in self.split(genome) for value in transform.teacher(genes)]

    def uniform(self, share: float) -> list[float]:
        return [value for transform in self.transforms for value in transform.uniform(share)]

    def bare(self) -> Stack:
        """See :meth:`.transform.Transform.bare`."""
        return Stack([transform.bare() for transform in self.transforms])

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        if times.keys() != set(self.genes.names):
            raise ValueError("other genes")
        for transform in self.transforms:
            transform.use_times({gene.name: times[gene.name] for gene in transform.genes})
        self.genes = _joint_genes(self.transforms)


class StackFacts:
    """Abilities of ``transforms`` together, and facts for protocols and people; see :class:`.transform.Transform`."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self._transforms = transforms

    @property
    def sparse(self) -> bool:
        return any(transform.sparse for transform in self._transforms)

    @property
    def lazy(self) -> bool:
        return len(self._transforms) == 1 and self._transforms[0].lazy

    @property
    def updates(self) -> bool:
        return any(transform.updates for transform in self._transforms)

    @property
    def plain(self) -> bool:
        return all(transform.plain for transform in self._transforms)

    @property
    def prunes_vocabulary(self) -> bool:
        """True if genomes may remove tokens."""
        return any(transform.vocabularies for transform in self._transforms)

    @property
    def prunes_blocks(self) -> bool:
        """True if blocks are changed by more than their form."""
        return any(not isinstance(cut, Form) and not cut.vocabularies for cut in self._transforms)

    def measures(self) -> dict[str, Any]:
        return {name: value for transform in self._transforms for name, value in transform.measures().items()}

    def describe(self) -> dict[str, Any]:
        return {name: value for transform in self._transforms for name, value in transform.describe().items()}

    def remarks(self) -> list[str]:
        return [*dict.fromkeys(remark for transform in self._transforms for remark in transform.remarks())]


def _joint_genes(transforms: Sequence[Transform]) -> Genes:
    if len(transforms) == 1:
        return transforms[0].genes
    return Genes(replace(gene, kind=type(one).__name__) for one in transforms for gene in one.genes)
