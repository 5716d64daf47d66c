"""The transforms of a stack, in their order, and the models of its genomes."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations, pairwise
from typing import TypeVar

from evoprune import Genes, InputError
from evoprune.problems.language_model.transforms.overlay import Overlay, Remaining
from evoprune.problems.language_model.transforms.shapes import Shapes
from evoprune.problems.language_model.transforms.transform import Transform

Kind = TypeVar("Kind", bound=Transform)


class Parts:
    """Applies ``transforms``, which change different parts of a block, to one resident model; an overlay comes last."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        """Raise :class:`evoprune.InputError` for transforms that cannot be combined."""
        for one, other in combinations(transforms, 2):
            _refuse(one, other)
        self.resident = transforms[0].resident
        cuts = [transform for transform in transforms if not isinstance(transform, Overlay)]
        # at most one: two would share a part
        self._overlay = next((each for each in transforms if isinstance(each, Overlay)), None)
        self.transforms = [*cuts, self._overlay] if self._overlay else cuts
        coupled = _overlap(cuts) or bool(self._overlay and cuts)
        self.shapes = Shapes.of(self.resident.model, cuts) if coupled else None
        """The shapes that cuts leave, where the cost of a gene depends on others; else costs add up."""
        if self._overlay and self.shapes:
            self._overlay.fit(self.shapes)
        self.genes = self._genes_of_all()
        ends = [0]
        for transform in self.transforms:
            ends.append(ends[-1] + len(transform.genes))
        self._slices = [slice(begin, end) for begin, end in pairwise(ends)]
        self._applied = self.dense

    @property
    def dense(self) -> list[float]:
        return [value for transform in self.transforms for value in transform.dense]

    def uniform(self, share: float) -> list[float]:
        return [value for transform in self.transforms for value in transform.uniform(share)]

    def apply(self, genome: Sequence[float]) -> None:
        self._cut(genome)
        self._lay(genome)

    def block_fingerprints(self) -> Sequence[Hashable]:
        return list(zip(*(transform.block_fingerprints() for transform in self.transforms), strict=True))

    def part(self, kind: type[Kind]) -> Kind | None:
        """The transform of the class ``kind``, if there is one."""
        return next((each for each in self.transforms if isinstance(each, kind)), None)

    @property
    def _alone(self) -> Transform | None:
        """The transform, if there is only one."""
        return self.transforms[0] if len(self.transforms) == 1 else None

    def _genes_of_all(self) -> Genes:
        if self._alone:
            return self._alone.genes
        return Genes([replace(gene, kind=type(each).__name__) for each in self.transforms for gene in each.genes])

    def _split(self, genome: Sequence[float]) -> list[tuple[Transform, Sequence[float]]]:
        """Each transform with its part of ``genome``."""
        return [(each, genome[own]) for each, own in zip(self.transforms, self._slices, strict=True)]

    def _cuts(self, genome: Sequence[float]) -> list[tuple[Transform, Sequence[float]]]:
        return [(each, own) for each, own in self._split(genome) if each is not self._overlay]

    def _cut(self, genome: Sequence[float]) -> None:
        self._applied = list(genome)
        if self._overlay and not self._alone:  # alone, it replaces its own copies
            self._overlay.lift()
        for transform, own in self._cuts(genome):
            transform.apply(own)

    def _lay(self, genome: Sequence[float]) -> None:
        if self._overlay:
            self._overlay.lay(genome[self._slices[-1]], lambda: self._remaining(genome))

    def _remaining(self, genome: Sequence[float]) -> Remaining:
        inputs = {name: left for each, own in self._split(genome) for name, left in each.remaining_inputs(own).items()}
        rows = {name: left for each, own in self._split(genome) for name, left in each.remaining_rows(own).items()}
        return Remaining(inputs, rows)

    @contextmanager
    def _made_dense(self) -> Iterator[None]:
        before = self._applied
        self.apply(self.dense)
        try:
            yield
        finally:
            self.apply(before)


def _refuse(one: Transform, other: Transform) -> None:
    """Raise :class:`evoprune.InputError` where the two change the same part, or one leaves zeros that save nothing."""
    names = f"{type(one).__name__} and {type(other).__name__}"
    if any(isinstance(each, Overlay) for each in (one, other)) and (one.sparse or other.sparse):
        raise InputError(f"{names}: zeros save no byte in a .gguf file; leave one of the two out", "problem.transforms")
    if both := one.parts & other.parts:
        shared = " and the ".join(sorted(both))
        raise InputError(
            f"{names} both change the {shared} of a block: choose one or drop: false", "problem.transforms"
        )


def _overlap(cuts: Sequence[Transform]) -> bool:
    of_each = [{part.split()[0] for part in cut.parts} for cut in cuts if not cut.sparse]  # zeros change no shape
    return any(one & other for one, other in combinations(of_each, 2))
