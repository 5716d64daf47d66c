"""The problem ``function``: a Python function of the genes' values, which returns a number for each objective."""

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy
from pydantic import Field, model_validator

from evoprune import Evaluation, Gene, Genes, Problem, Settings
from evoprune.experiment.registry import find_plugin
from evoprune.interfaces.problem import Checked, violation

Called = Callable[[list[Any]], Any]


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

    def gene(self) -> Gene:
        up = float(len(self.levels) - 1) if self.levels else self.up
        more = self.model_dump(include={"levels", "exponent", "ordered", "scale"})
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


class Function(Problem):
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
        return [called(self.lent.get(call) or find_plugin("", call), self.genes) for call in calls]

    def initial_genomes(self) -> list[list[float]]:
        return [self.genes.encoded(values) for values in self.settings.initial]

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:  # noqa: ARG002 - it has one
        result, *others = (function(self.genes.chosen(genome)) for function in self._functions)
        constraints = [float(value) for value in others]
        measures = {"constraints": constraints} if constraints else {}
        values = result if isinstance(result, tuple) else tuple(numpy.ravel(result))
        return Evaluation(values, measures=measures, violation=violation(constraints))

    @classmethod
    def signs_of(cls, settings: FunctionSettings) -> tuple[float, ...]:
        return (1.0 if settings.maximise else -1.0,) * settings.objectives


def called(function: Called, genes: Genes) -> Called:
    """Return ``function`` as one of the list of the values of ``genes``, which it may have as named parameters."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of a built-in one
        return function
    if {*parameters} != {*genes.names}:
        return function
    named: Callable[..., Any] = function
    return lambda values: named(**dict(zip(genes.names, values, strict=True)))
