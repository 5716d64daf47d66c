"""Applies the transforms of a session in turn, and counts the costs of their genomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate, combinations, pairwise
from math import prod
from typing import Any

from evoprune import Additive, Budget, Coupled, Genes, InputError, Term
from evoprune.problems.language_model.gguf.types.transform import Types
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.transforms.costs import BYTES, PARAMETERS, WEIGHTS, Prices, scaled
from evoprune.problems.language_model.transforms.latency import PassTimer, Timer
from evoprune.problems.language_model.transforms.shapes import Kinds, Shape, Shapes
from evoprune.problems.language_model.transforms.transform import Remaining, Transform


class StackCosts:
    """Applies ``transforms``, which change different parts of a block, to one resident model, and counts costs.

    Costs are additive if no two transforms change the shape of the same parameters. Otherwise they are counted from
    ``shapes``, and the cost of a gene depends on other genes.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        """Raise :class:`evoprune.InputError` for transforms that cannot be combined."""
        for pair in combinations(transforms, 2):
            _check_pair(*pair)
        self.resident = transforms[0].resident
        cuts = [transform for transform in transforms if not isinstance(transform, Types)]
        # at most one, since two would change the same part
        self._types = next((transform for transform in transforms if isinstance(transform, Types)), None)
        self.transforms = [*cuts, self._types] if self._types else cuts
        self._single = transforms[0] if len(transforms) == 1 else None
        parts = [{part.split()[0] for part in cut.parts} for cut in cuts if not cut.sparse]  # zeros change no shape
        coupled = any(one & other for one, other in combinations(parts, 2)) or bool(self._types and cuts)
        self.shapes = Shapes.of(self.resident.model, cuts) if coupled else None
        """Shapes of pruned parameters if the cost of a gene depends on others; None if costs are additive."""
        if self._types and self.shapes:
            self._types.fit(self.shapes)
        self.genes = self._all_genes()
        ends = accumulate((len(transform.genes) for transform in self.transforms), initial=0)
        self._slices = [slice(begin, end) for begin, end in pairwise(ends)]
        self._applied = self.dense

    @property
    def dense(self) -> list[float]:
        return [value for transform in self.transforms for value in transform.dense]

    def apply(self, genome: Sequence[float]) -> None:
        self._prune(genome)
        self._quantise(genome)

    def _all_genes(self) -> Genes:
        if self._single:
            return self._single.genes
        return Genes(replace(gene, kind=type(one).__name__) for one in self.transforms for gene in one.genes)

    def _split(self, genome: Sequence[float]) -> list[tuple[Transform, Sequence[float]]]:
        """Return each transform with its genes of ``genome``."""
        return [(transform, genome[part]) for transform, part in zip(self.transforms, self._slices, strict=True)]

    def _prune(self, genome: Sequence[float], final: bool = False) -> None:
        self._applied = list(genome)
        if self._types:
            self._types.swap_out()
        cuts = [(cut, genes) for cut, genes in self._split(genome) if cut is not self._types]
        for cut, genes in cuts:
            cut.apply(genes)
        for cut, genes in cuts if final else ():
            cut.finalise(genes)

    def _quantise(self, genome: Sequence[float]) -> None:
        if self._types:
            self._types.swap_in(genome[self._slices[-1]], self._remaining(genome))

    def _remaining(self, genome: Sequence[float]) -> Remaining:
        split = self._split(genome)
        inputs = {name: indices for cut, genes in split for name, indices in cut.remaining_inputs(genes).items()}
        rows = {name: indices for cut, genes in split for name, indices in cut.remaining_rows(genes).items()}
        return Remaining(inputs, rows)

    @contextmanager
    def _temporarily_dense(self) -> Iterator[None]:
        before = self._applied
        self.apply(self.dense)
        try:
            yield
        finally:
            self.apply(before)

    def costs(self, unit: str) -> Prices:
        """Return the additive costs of genomes in ``unit``, see :meth:`.transform.Transform.costs`."""
        costs = [transform.costs(unit) for transform in self.transforms]
        return [price for prices, _ in costs for price in prices], costs[0][1]

    def budget(self, unit: str, limit: float | None, name: str | None = None, scale: float = 1.0) -> Budget:
        """Return the budget of ``scale`` times the cost in ``unit``, at most ``limit``, displayed as ``name``."""
        if not self.shapes:
            prices, fixed = scaled(self.costs(unit), scale)
            try:
                return Additive(self.genes, prices, limit, name or unit, fixed)
            except ValueError as error:  # prices that neither rise nor fall, which a limit needs
                raise InputError(str(error), f"prices('{unit}')") from None
        if unit == BYTES and self._types:
            places = zip(self.transforms, self._slices, strict=True)
            vocabularies = {part.start: cut.vocabularies for cut, part in places if cut.vocabularies}
            with self._temporarily_dense():
                counted = self._types.file_bytes(self.shapes, vocabularies)
            terms, rest = counted.terms, counted.rest
        else:
            terms, rest = self._counted_terms(unit, self.shapes), lambda _: 0.0
        terms = [Term(term.genes, scale * term.table) for term in terms]
        count = len(self.shapes.counts)
        return Coupled(self.genes, terms, limit, name or unit, lambda levels: scale * rest(levels), count)

    def _counted_terms(self, unit: str, shapes: Shapes) -> list[Term]:
        """Return the cost of all parameters in ``unit``; only matrices of blocks have weights."""
        if unit not in (BYTES, PARAMETERS, WEIGHTS):
            raise InputError(f"{unit} that several transforms spend together cannot be counted", "problem.budget")
        matrices = tuple(f"{matrix.name}." for matrix in self.resident.matrices)
        stacks = tuple(f"{mixture.name}." for mixture in self.resident.mixtures)
        size = self.resident.model.dtype.itemsize if unit == BYTES else 1

        def count(name: str, shape: Shape, _: str | None) -> float:
            counts = name.startswith(matrices) if len(shape) == 2 else len(shape) > 2 and name.startswith(stacks)
            return size * prod(shape) if counts or unit != WEIGHTS else 0.0

        return shapes.terms(count)

    def timer(self, load: Load) -> Timer:
        """Return the timer of models under ``load``: in llama.cpp with types, else in transformers."""
        shapes = self.shapes
        cuts: list[Any] = [shapes.changed(place) for place in range(len(shapes.counts))] if shapes else []
        if self._types:
            return self._types.timer(self, load, cuts)
        if not shapes:  # levels with the same costs are assumed to be equally fast
            units = [unit for unit in (WEIGHTS, PARAMETERS) if all(unit in cut.units for cut in self.transforms)]
            words = [gene.name.split()[0] for gene in self.genes]  # heads, channels, attention, mlp, ...
            cuts = list(zip(words, *(self.costs(unit)[0] for unit in units), strict=True))
        return PassTimer(self, load, cuts)

    @property
    def kinds(self) -> Kinds:
        """Types of each parameter that may be quantised, the first dense."""
        return self._types.kinds(self.shapes) if self._types and self.shapes else {}


def _check_pair(one: Transform, other: Transform) -> None:
    """Raise :class:`evoprune.InputError` if two transforms change the same part, or exclude each other."""
    names = f"{type(one).__name__} and {type(other).__name__}"
    if any(isinstance(each, Types) for each in (one, other)) and (one.sparse or other.sparse):
        raise InputError(f"{names}: zeros save no byte in a .gguf file; leave one of the two out", "problem.transforms")
    if any(each.sparse and each.updates for each in (one, other)):  # on dense text; cached by their own genes alone
        why = "reconstruct updates the weights of a model without other changes; leave one out, or reconstruct: none"
        raise InputError(f"{names}: {why}", "problem.transforms")
    if both := one.parts & other.parts:
        shared = " and the ".join(sorted(both))
        raise InputError(f"{names} both change the {shared}: choose one or drop: false", "problem.transforms")
