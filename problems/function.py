"""The problem ``function``: a Python function of the genes' values, which returns a number for each objective."""

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy
from pydantic import Field, model_validator

from evoprune import Batched, Evaluation, Gene, Genes, Problem, Settings
from evoprune.experiment.registry import find_plugin
from evoprune.interfaces.problem import Checked, violation

Called = Callable[[Any], Any]


Value = str | bool | int | float | None


class GeneSettings(Checked):
    """A gene: bounds or levels, as :class:`evoprune.Gene` has them."""

    name: str = Field(description="another one for each gene")
    low: float = Field(0.0, description="its lower bound")
    up: float = Field(1.0, description="its upper bound")
    levels: tuple[Value, ...] = Field((), description="its levels, in place of bounds")
    exponent: bool = Field(False, description="whether the bounds are logarithms of the value, to base 10")
    ordered: bool = Field(True, description="whether its levels have an order")
    scale: float | None = Field(None, gt=0, description="the change that steps are shares of (default: the range)")
    when: tuple[str, Value] | None = Field(
        None, description="name of an earlier gene, and its level without which this one is inactive: None"
    )

    def gene(self) -> Gene:
        up = float(len(self.levels) - 1) if self.levels else self.up
        more = self.model_dump(include={"levels", "exponent", "ordered", "scale", "when"})
        return Gene(self.name, self.low, up, **more)


class FunctionSettings(Settings):
    """The function, its genes and its objectives."""

    call: str = Field(
        description="module:name of a function: of the genes' values by their names, if these are its parameters, or "
        "else of their list"
    )
    genes: tuple[GeneSettings, ...] = Field(min_length=1, description="the genes, in the order of the list")
    objectives: int = Field(1, ge=1, description="the numbers that it returns")
    maximise: bool = Field(False, description="whether more is better; else less is")
    batch: bool = Field(
        False,
        description="whether functions take an array, or columns by name, a row a candidate, and return rows",
    )
    initial: tuple[tuple[Value, ...], ...] = Field((), description="genomes to begin with, by the genes' values")
    constraints: tuple[str, ...] = Field(
        (), description="module:name of functions of the same list, each satisfied where it returns 0 or less"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        genes = Genes(gene.gene() for gene in self.genes)
        for values in self.initial:
            try:
                genes.encoded(values)
            except ValueError as error:
                raise ValueError(f"initial: {error}") from None
        return self


class Function(Problem, Batched):
    """Minimise, or maximise, a function of your own: a number, or several numbers against each other."""

    Settings = FunctionSettings
    settings: FunctionSettings
    lent: ClassVar[dict[str, Called]] = {}
    """Functions of this process that cannot be imported, by the name that ``call`` gives them."""

    @cached_property
    def genes(self) -> Genes:
        return Genes(gene.gene() for gene in self.settings.genes)

    @cached_property
    def _functions(self) -> list[Called]:
        calls = self.settings.call, *self.settings.constraints
        return [called(self.lent.get(call) or find_plugin("", call), self.genes, self.batch) for call in calls]

    def initial_genomes(self) -> list[list[float]]:
        return [self.genes.encoded(values) for values in self.settings.initial]

    @property
    def batch(self) -> bool:
        return self.settings.batch

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        if self.batch:
            return self.evaluate_batch([genome], fidelity)[0]
        return _evaluation(*(function(self.genes.chosen(genome)) for function in self._functions))

    def evaluate_batch(self, genomes: Sequence[Sequence[float]], fidelity: float = 1.0) -> list[Evaluation]:  # noqa: ARG002
        candidates = [self.genes.chosen(genome) for genome in genomes]
        answers = [numpy.asarray(function(candidates)) for function in self._functions]
        for answer in answers:
            if answer.shape[:1] != (len(genomes),):
                raise ValueError(f"expected {len(genomes)} rows of values, one a candidate, got shape {answer.shape}")
        return [_evaluation(*rows) for rows in zip(*answers, strict=True)]

    @classmethod
    def signs_of(cls, settings: FunctionSettings) -> tuple[float, ...]:
        return (1.0 if settings.maximise else -1.0,) * settings.objectives


def _evaluation(result: Any, *constraints: Any) -> Evaluation:
    values = result if isinstance(result, tuple) else tuple(numpy.ravel(result))
    if not constraints:
        return Evaluation(values)
    excess = [float(value) for value in constraints]
    return Evaluation(values, measures={"constraints": excess}, violation=violation(excess))


def called(function: Called, genes: Genes, batch: bool = False) -> Called:
    """Return ``function`` as one of the list of the values of ``genes``, which it may have as named parameters.

    ``batch``: a list of such lists, which ``function`` takes as an array, or as an array for each parameter; of numbers
    with NaN for an inactive gene, or else of objects.
    """
    try:
        named = {*inspect.signature(function).parameters} == {*genes.names}
    except (TypeError, ValueError):  # of a built-in one
        named = False
    kinds = [float if all(isinstance(level, int | float) for level in gene.levels) else object for gene in genes]
    if not named:
        kind = object if object in kinds else float
        return (lambda rows: function(numpy.array(rows, dtype=kind))) if batch else function
    by_name: Callable[..., Any] = function
    columns: Callable[[Any], Any] = (lambda rows: map(numpy.array, zip(*rows, strict=True), kinds)) if batch else iter
    return lambda values: by_name(**dict(zip(genes.names, columns(values), strict=True)))
