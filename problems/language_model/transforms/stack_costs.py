"""Counts the costs of genomes of several transforms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, combinations
from math import prod
from typing import Any

from evoprune import Additive, Budget, Coupled, InputError, Term
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.transforms.costs import BYTES, PARAMETERS, WEIGHTS, Prices, scaled
from evoprune.problems.language_model.transforms.form import Form
from evoprune.problems.language_model.transforms.latency import GenomeModel, PassTimer, Timer
from evoprune.problems.language_model.transforms.shapes import Kinds, Shape, Shapes
from evoprune.problems.language_model.transforms.transform import Transform


def coupled_shapes(cuts: Sequence[Transform], form: Form | None) -> Shapes | None:
    """Return the shapes of parameters that ``cuts`` prune if the cost of a gene depends on others; else None."""
    parts = [{part.split()[0] for part in cut.parts} for cut in cuts if not cut.sparse]  # zeros change no shape
    coupled = any(one & other for one, other in combinations(parts, 2)) or bool(form and cuts)
    return Shapes.of(cuts[0].resident.model, cuts) if coupled else None


class StackCosts:
    """The costs of the genomes of ``model``, which ``cuts`` prune, and the ``form`` quantises.

    Costs are additive if no two transforms change the shape of the same parameters. Otherwise they are counted from
    :attr:`shapes`, and the cost of a gene depends on other genes.
    """

    def __init__(self, model: GenomeModel, cuts: Sequence[Transform], form: Form | None, shapes: Shapes | None) -> None:
        self._model, self._cuts, self._form = model, cuts, form
        self.shapes = shapes
        """Shapes of pruned parameters if the cost of a gene depends on others; None if costs are additive."""

    @property
    def kinds(self) -> Kinds:
        """Types of each parameter that may be quantised, the first dense."""
        return self._form.kinds(self.shapes) if self._form and self.shapes else {}

    def additive(self, unit: str) -> Prices:
        """Return the additive costs of genomes in ``unit``, see :meth:`.transform.Transform.costs`."""
        costs = [transform.costs(unit) for transform in (*self._cuts, self._form) if transform]
        return [price for prices, _ in costs for price in prices], costs[0][1]

    def budget(self, unit: str, limit: float | None, name: str | None = None, scale: float = 1.0) -> Budget:
        """Return the budget of ``scale`` times the cost in ``unit``, at most ``limit``, displayed as ``name``."""
        if not self.shapes:
            prices, fixed = scaled(self.additive(unit), scale)
            try:
                return Additive(self._model.genes, prices, limit, name or unit, fixed)
            except ValueError as error:  # prices that neither rise nor fall, which a limit needs
                raise InputError(str(error), f"prices('{unit}')") from None
        if unit == BYTES and self._form:
            ends = accumulate(len(cut.genes) for cut in self._cuts)
            both = zip(self._cuts, ends, strict=True)
            vocabularies = {end - len(cut.genes): cut.vocabularies for cut, end in both if cut.vocabularies}
            with self._model.temporarily_dense():
                terms, rest = self._form.file_costs(self.shapes, vocabularies)
        else:
            terms, rest = self._counted_terms(unit, self.shapes), lambda _: 0.0
        terms = [Term(term.genes, scale * term.table) for term in terms]
        count = len(self.shapes.counts)
        return Coupled(self._model.genes, terms, limit, name or unit, lambda levels: scale * rest(levels), count)

    def timer(self, load: Load) -> Timer:
        """Return the timer of models under ``load``: that of the form, else of passes in transformers."""
        shapes = self.shapes
        cuts: list[Any] = [shapes.changed(place) for place in range(len(shapes.counts))] if shapes else []
        if self._form:
            return self._form.timer(self._model, load, cuts)
        if not shapes:  # levels with the same costs are assumed to be equally fast
            units = [unit for unit in (WEIGHTS, PARAMETERS) if all(unit in cut.units for cut in self._cuts)]
            words = [gene.name.split()[0] for gene in self._model.genes]  # heads, channels, attention, mlp, ...
            cuts = list(zip(words, *(self.additive(unit)[0] for unit in units), strict=True))
        return PassTimer(self._model, load, cuts)

    def _counted_terms(self, unit: str, shapes: Shapes) -> list[Term]:
        """Return the cost of all parameters in ``unit``; only matrices of blocks have weights."""
        if unit not in (BYTES, PARAMETERS, WEIGHTS):
            raise InputError(f"{unit} that several transforms spend together cannot be counted", "problem.budget")
        resident = self._model.resident
        matrices = tuple(f"{matrix.name}." for matrix in resident.matrices)
        stacks = tuple(f"{mixture.name}." for mixture in resident.mixtures)
        size = resident.model.dtype.itemsize if unit == BYTES else 1

        def count(name: str, shape: Shape, _: str | None) -> float:
            counts = name.startswith(matrices) if len(shape) == 2 else len(shape) > 2 and name.startswith(stacks)
            return size * prod(shape) if counts or unit != WEIGHTS else 0.0

        return shapes.terms(count)
