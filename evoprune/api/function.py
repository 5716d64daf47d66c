"""The problem ``function``: a Python function of the genes' values, which returns a number for each objective."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy
from pydantic import Field, model_serializer, model_validator

from evoprune.console.errors import InputError
from evoprune.experiment import parameters
from evoprune.experiment.explain import validated
from evoprune.experiment.registry import SPACES, find_plugin
from evoprune.experiment.spec import Choice
from evoprune.interfaces.fingerprints import fingerprint
from evoprune.interfaces.genes import Gene, Genes
from evoprune.interfaces.problem import Checked, Evaluation, Problem, Settings, violation
from evoprune.interfaces.space import Genome, Space
from evoprune.spaces.mixed import Mixed

FUNCTION = "function"  # the registered name of :class:`Function`

Rows = Callable[[Any], Any]
"""A function of the values of several candidates, a row each."""

Value = str | bool | int | float | None

_SHARED_FIELDS = ("exponent", "ordered", "scale", "when")  # fields of a gene that its settings have, too


class GeneSettings(Checked):
    """A gene: bounds or levels, as :class:`evoprune.Gene` has them."""

    name: str = Field(description="a different one for each gene")
    low: float = Field(0.0, description="its lower bound")
    up: float = Field(1.0, description="its upper bound")
    levels: tuple[Value, ...] = Field((), description="its levels, in place of bounds")
    whole: tuple[int, int] | None = Field(None, description="bounds of a whole number, in place of all others")
    exponent: bool = Field(False, description="the bounds are base-10 logarithms of the value")
    ordered: bool = Field(True, description="its levels have an order")
    scale: float | None = Field(None, gt=0, description="the change that steps are shares of (default: the range)")
    when: tuple[str, Value] | None = Field(
        None, description="name of an earlier gene, and its level without which this one is inactive: None"
    )

    @model_serializer
    def _set_keys(self) -> dict[str, Any]:
        """The keys that differ from their defaults: there may be thousands of genes."""
        fields = type(self).model_fields
        return {key: value for key, value in self.__dict__.items() if value != fields[key].default}

    @staticmethod
    def describe(gene: Gene) -> dict[str, Any]:
        """Return the settings of ``gene``: whole numbers, which may be many, by their bounds."""
        keys = {key: getattr(gene, key) for key in ("name", *_SHARED_FIELDS)}
        if isinstance(gene.levels, range) and gene.levels.step == 1:
            return keys | {"whole": (gene.levels[0], gene.levels[-1])}
        return keys | ({"levels": [*gene.levels]} if gene.levels else {"low": gene.low, "up": gene.up})

    def gene(self) -> Gene:
        more: Any = {key: getattr(self, key) for key in _SHARED_FIELDS}
        if self.whole is not None:
            return replace(Gene.integer(self.name, *self.whole), **more)
        up = float(len(self.levels) - 1) if self.levels else self.up
        return Gene(self.name, self.low, up, self.levels, **more)


class FunctionSettings(Settings):
    """The function, its genes and its objectives."""

    call: str = Field(
        description="module:name of a function: of the genes' values by their names, if these are its parameters, or "
        "else of their list"
    )
    genes: tuple[GeneSettings, ...] = Field((), description="the genes, in the order of the list")
    space: Choice | None = Field(None, description="the space of other genomes, as `evoprune ls spaces` lists them")
    objectives: int = Field(1, ge=1, le=1000, description="number of values that it returns")
    maximise: bool = Field(False, description="maximise, instead of minimise")
    batch: bool = Field(
        False, description="functions take an array, or columns by name, with a row for each candidate, and return rows"
    )
    noisy: bool = Field(
        False, description="values of one genome differ: the function draws from random or numpy.random"
    )
    initial: tuple[Any, ...] = Field((), description="genomes to begin with, by their values, as of the genes")
    constraints: tuple[str, ...] = Field(
        (), description="module:name of functions of the list, or of some genes by name, each satisfied at 0 or less"
    )
    _made: Space
    _first: Sequence[Genome]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if bool(self.genes) == bool(self.space):
            raise ValueError("expected genes, or another space")
        space = self._made = space_of(self.space) if self.space else Genes(gene.gene() for gene in self.genes)
        try:
            self._first = [space.encoded(values) for values in self.initial]
        except ValueError as error:
            raise ValueError(f"initial: {error}") from None
        return self


def space_of(choice: Choice) -> Space:
    """Return the space that an experiment names."""
    if choice.use == Genes.name:
        return Genes(gene.gene() for gene in _OnlyGenes.model_validate(choice.parameters).genes)
    kind: type[Space] = find_plugin(SPACES, choice.use)
    if issubclass(kind, Mixed):
        return kind(**{name: space_of(Choice.model_validate(part)) for name, part in choice.parameters.items()})
    checked = validated(parameters.schema(kind.__init__, 1), choice.parameters, None, f"space: {choice.use}")
    return kind(**{name: getattr(checked, name) for name in type(checked).model_fields})


class _OnlyGenes(Checked):
    genes: tuple[GeneSettings, ...]


class Function(Problem):
    """Minimise, or maximise, a function of your own: a number, or several numbers against each other."""

    Settings = FunctionSettings
    settings: FunctionSettings
    _fault = ""  # of the last batch: its candidates are tried again one by one, where one row would pass

    @cached_property
    def space(self) -> Space:
        made: Space = self.settings._made
        return made

    @property
    def genes(self) -> Genes:
        return space if isinstance(space := self.space, Genes) else super().genes

    @cached_property
    def _called(self) -> dict[str, Callable[..., Any]]:
        """The function and its constraints, by their names in the settings."""
        calls = self.settings.call, *self.settings.constraints
        return {call: find_plugin("", call) for call in calls}

    @cached_property
    def _functions(self) -> list[Rows]:
        calls = self.settings.call, *self.settings.constraints
        return [on_rows(self._called[call], self.space, self.batch, place > 0) for place, call in enumerate(calls)]

    def fingerprint(self) -> dict[str, str]:
        return {key: value for call in self._called for key, value in fingerprint(self._called[call], call).items()}

    def initial_genomes(self) -> Sequence[Genome]:
        return self.settings._first

    @property
    def batch(self) -> bool:
        return self.settings.batch

    @property
    def noisy(self) -> bool:  # type: ignore[override]
        return self.settings.noisy

    def evaluate(self, genome: Genome, fidelity: float = 1.0) -> Evaluation:
        return self.evaluate_batch([genome], fidelity)[0]

    def evaluate_batch(self, genomes: Sequence[Genome], fidelity: float = 1.0) -> list[Evaluation]:  # noqa: ARG002
        candidates = [self.space.chosen(genome) for genome in genomes]
        answers = [function(candidates) for function in self._functions]
        wrong = {len(answer) for answer in answers} - {len(genomes)}
        fault = f"expected {len(genomes)} rows of values, one a candidate, got {min(wrong)}" if wrong else ""
        if len(genomes) > 1:
            self._fault = fault
        if fault := self._fault or fault:
            raise ValueError(fault)
        return [_evaluation(*rows) for rows in zip(*answers, strict=True)]

    @classmethod
    def signs_of(cls, settings: FunctionSettings) -> tuple[float, ...]:
        return (1.0 if settings.maximise else -1.0,) * settings.objectives


def _evaluation(result: Any, *constraints: Any) -> Evaluation:
    values = result if isinstance(result, tuple) else tuple(numpy.ravel(result).tolist())
    if not constraints:
        return Evaluation(values)
    if any(numpy.asarray(value).dtype == bool for value in constraints):
        raise TypeError("a constraint returned True or False: expected a number, 0 or less where it is satisfied")
    excess = [float(value) for value in constraints]
    return Evaluation(values, measures={"constraints": excess}, violation=violation(excess))


def on_rows(function: Callable[..., Any], genes: Space, batch: bool = False, some: bool = False) -> Rows:
    """Return a function that takes rows of the values of ``genes`` and returns a row of results for each.

    Of other spaces, rows are their values.

    ``function`` takes one row, as a list or as parameters named after genes; in a ``batch`` all rows, as an array or
    an array for each parameter: of numbers, NaN for an inactive gene, or of objects. ``some``: its parameters may be
    some of the genes. Raises :class:`evoprune.InputError` for several parameters that are no genes.
    """
    if not isinstance(genes, Genes):
        called = genes.called(function)
        return (lambda rows: numpy.atleast_1d(function(rows))) if batch else lambda rows: [called(row) for row in rows]
    found: list[inspect.Parameter] = []
    with suppress(TypeError, ValueError):  # built-in functions have none
        found = [*inspect.signature(function).parameters.values()]
    names = {each.name for each in found}
    needed = [each.name for each in found if each.default is each.empty and each.kind <= each.POSITIONAL_OR_KEYWORD]
    if not names or not names <= {*genes.names} or (names != {*genes.names} and not some):
        if len(needed) > 1:
            listed = ", ".join(genes.names)
            raise InputError(
                f"its parameters {', '.join(needed)} are not the genes {listed}, nor one list of their values"
            )
        dtype = object if object in _dtypes(genes) else float
        if batch:
            return lambda rows: numpy.atleast_1d(function(numpy.array(rows, dtype=dtype)))
        return lambda rows: [function(row) for row in rows]  # map would swallow a StopIteration

    def call(values: Iterable[Any]) -> Any:
        every = dict(zip(genes.names, values, strict=True))
        return function(**{name: every[name] for name in names})

    if batch:
        return lambda rows: numpy.atleast_1d(call(map(numpy.array, zip(*rows, strict=True), _dtypes(genes))))
    return lambda rows: [call(row) for row in rows]


def _dtypes(genes: Genes) -> list[type]:
    """Return the dtypes of the genes' values."""

    def is_number(gene: Gene) -> bool:
        return isinstance(gene.levels, range) or all(isinstance(level, int | float) for level in gene.levels)

    return [float if is_number(gene) else object for gene in genes]
