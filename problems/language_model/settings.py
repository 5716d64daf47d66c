"""Settings of the problem on a language model and of its presets, and options of ``eval``. Imports no torch."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from evoprune import Budget, Fraction, InputError
from evoprune.experiment.parameters import check_parameters
from evoprune.experiment.registry import find_plugin
from evoprune.experiment.spec import Choice
from evoprune.problems.language_model.allocations import ALLOCATIONS
from evoprune.problems.language_model.budgets import BUDGETS, MeasuredBudget
from evoprune.problems.language_model.distillation.settings import RunSettings
from evoprune.problems.language_model.evaluation.harness import MISSING, TaskSettings
from evoprune.problems.language_model.models.settings import Device, Dtype, Source, model_fault, registered
from evoprune.problems.language_model.texts.settings import TextSettings, text_fault
from evoprune.problems.language_model.texts.tasks import task_fault
from evoprune.problems.language_model.transforms import TRANSFORMS
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings

UNIFORM = "uniform"  # the baseline that takes the same share everywhere

AllocationName = Annotated[str, registered(ALLOCATIONS)]
InitialName = Annotated[str, registered(ALLOCATIONS, UNIFORM)]


def budget_of(chosen: Choice, key: str) -> MeasuredBudget | partial[Budget]:
    """Return the budget ``chosen`` with its parameters: one that measures, or a function of the transform."""
    kind = find_plugin(BUDGETS, chosen.use)
    given = check_parameters(kind, chosen.parameters, key)
    return given if isinstance(given, MeasuredBudget) else partial(kind, **dict(given))


def _check(named: Iterable[tuple[str, str, Choice]]) -> None:
    """Raise ValueError for unknown plugins and parameters; ``named``: key, group of entry points, and choice."""
    faults: list[str] = []
    for key, group, chosen in named:
        try:
            check_parameters(find_plugin(group, chosen.use), chosen.parameters, key)
        except InputError as error:
            faults += error.problems
    if faults:
        raise ValueError("; ".join(faults))


class _Traded(RunSettings):
    """Objectives beside the loss."""

    trade_offs: tuple[Choice, ...] = Field(
        (),
        description="budgets, such as bytes and milliseconds, whose amounts are objectives beside the loss, with nsga2 "
        "and no repair; the result is the best within the limits that they may name",
    )

    @model_validator(mode="after")
    def _known_trade_offs(self) -> Self:
        _check(("trade_offs", BUDGETS, chosen) for chosen in self.trade_offs)
        measured = [isinstance(budget_of(chosen, "trade_offs"), MeasuredBudget) for chosen in self.trade_offs]
        if sum(measured) > 1 or len(set(self.traded_labels)) < len(measured):
            raise ValueError("trade_offs: expected different budgets, of which one may measure the machine")
        return self

    @property
    def traded(self) -> Sequence[Choice]:
        """``trade_offs``, with the limits that choose the result."""
        return self.trade_offs

    @property
    def traded_labels(self) -> list[str]:
        return [each.use.rpartition(":")[2].replace("_", " ") for each in self.trade_offs]


class LanguageModelSettings(_Traded):
    """Parameters of the problem ``language_model``: any transforms, under any one budget."""

    transforms: tuple[Choice, ...] = Field(
        description="how the model is made smaller: a registered name and its parameters, or a list of these"
    )
    budget: Choice | None = Field(
        None, description="the limit, by a registered name, and its parameters; null is no budget"
    )

    uniform: ClassVar[str] = UNIFORM
    """Name of the uniform reference."""

    @field_validator("transforms", mode="before", json_schema_input_type=Choice | tuple[Choice, ...])
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [value]

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.transforms:
            raise ValueError("transforms: expected at least one")
        if self.budget and self.trade_offs:
            raise ValueError("budget, trade_offs: give one; limits of trade_offs choose the result among the best")
        named = [("transforms", TRANSFORMS, chosen) for chosen in self.transforms]
        _check([*named, ("budget", BUDGETS, self.budget)] if self.budget else named)
        return self

    @property
    def chosen_transforms(self) -> list[tuple[Any, Any]]:
        """The class of each transform, and its own settings. Imports torch."""
        kinds = [find_plugin(TRANSFORMS, chosen.use) for chosen in self.transforms]
        return [
            (kind, kind.Settings.model_validate(chosen.parameters))
            for kind, chosen in zip(kinds, self.transforms, strict=True)
        ]

    @property
    def calibrates(self) -> bool:
        return any(kind.calibrates(own) for kind, own in self.chosen_transforms)

    @property
    def about(self) -> list[str]:
        return [chosen.use for chosen in self.transforms]

    @property
    def missing(self) -> Iterator[str]:
        """A line for each file, folder or package that is not there, with its key where it has one."""
        yield from _missing(self)
        for kind, own in self.chosen_transforms:
            yield from kind.missing(own)


class CompressionSettings(LanguageModelSettings):
    """Parameters of the problem ``compression``: those of ``language_model``, with a limit."""

    budget: Choice = Field(description="the limit, by a registered name, and its parameters, such as bytes")
    objective: Literal["perplexity", "kl"] = Field(
        "kl", description="fitness: divergence from the dense model, or perplexity"
    )


class PruningSettings(_Traded, WeightsSettings):
    """Parameters of the problem ``pruning``: the transform ``weights`` under the budget ``weights``."""

    sparsity: Fraction = Field(0.45, description="share of the prunable weights that is removed")
    allocations: tuple[AllocationName, ...] = Field(
        (),
        description="allocations without search, scored as references: owl, alpha, erdos_renyi, global, "
        "global_normalised, layer_errors",
    )
    initial_spread: Fraction = Field(
        0.15, description="largest distance of random first genomes from the target sparsity"
    )
    initial_genomes: tuple[InitialName, ...] = Field(
        (UNIFORM,), description="in the first population: uniform, and allocations by name, see above"
    )
    prior: AllocationName | None = Field(
        None, description="an allocation by name, see above, that guides exchange if its strength is above 0"
    )
    curve: tuple[Fraction, ...] = Field((0.1, 0.2, 0.3, 0.4, 0.5), description="sparsities of the uniform curve")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.min_sparsity <= self.sparsity <= self.max_sparsity:
            reach = f"min_sparsity {self.min_sparsity:g} and max_sparsity {self.max_sparsity:g}"
            raise ValueError(f"sparsity {self.sparsity:g} cannot be reached with {reach}")
        if self.genes == "block_and_kind" and self.found:
            raise ValueError("allocations need genes that are sparsities of their own: block or matrix")
        return self

    @property
    def found(self) -> tuple[str, ...]:
        """The allocations without search that the settings name: as references, initial genomes or prior."""
        prior = [self.prior] if self.prior else []
        return tuple(dict.fromkeys([*self.allocations, *(n for n in self.initial_genomes if n != UNIFORM), *prior]))

    # as LanguageModelSettings has them

    @property
    def budget(self) -> Choice | None:
        """The share of the weights to remove; None if they are an objective."""
        return None if self.trade_offs else self._target

    @property
    def traded(self) -> Sequence[Choice]:
        """``trade_offs``; of weights with ``sparsity`` as the limit."""
        return [self._target if each == Choice(use="weights") else each for each in self.trade_offs]

    @property
    def _target(self) -> Choice:
        return Choice(use="weights", removed=self.sparsity)

    @property
    def uniform(self) -> str:
        return uniform_name(self.sparsity) if self.sparsity else "dense"

    @property
    def chosen_transforms(self) -> list[tuple[Any, Any]]:
        return [(find_plugin(TRANSFORMS, "weights"), self)]

    @property
    def calibrates(self) -> bool:
        return bool(self.found) or any(kind.calibrates(own) for kind, own in self.chosen_transforms)

    @property
    def about(self) -> list[str]:
        return [f"{100 * self.sparsity:.4g}% by {self.score}"]

    @property
    def missing(self) -> Iterator[str]:
        return _missing(self)  # the transform needs nothing else, and asking it would import torch


def uniform_name(sparsity: float) -> str:
    """Return the name of uniform pruning at ``sparsity`` among the references."""
    return f"uniform {100 * sparsity:g}%"


def _missing(settings: RunSettings) -> Iterator[str]:
    if fault := model_fault(settings.model):
        yield f"problem.model: {fault}"
    roles = {"search_text": settings.search_text, "report_text": settings.report_text}
    roles |= {f"second_text.{at}": text for at, text in enumerate(settings.second_text)}
    roles["calibration_text"] = settings.calibration
    for role, its_text in roles.items():
        if (fault := text_fault(its_text) or task_fault(its_text)) and (
            role != "calibration_text" or settings.calibration_text
        ):
            yield f"problem.{role}: {fault}"
    if settings.recover and find_spec("accelerate") is None:
        yield "problem.recover: needs accelerate; pip install 'evoprune[recover]'"
    select = settings.recover and settings.recover.select
    if select and select.tasks and find_spec("lm_eval") is None:
        yield f"problem.recover.select.tasks: {MISSING}"
    text = settings.recover and settings.recover.text
    if text and (fault := text_fault(TextSettings(source=text))):
        yield f"problem.recover.text: {fault}"


class EvalOptions(TaskSettings):
    """Options of the command ``eval``."""

    text: Source | None = Field(
        None, description="hub id, .txt, .jsonl or .parquet file, bundled:python-docs (default: the run's report text)"
    )
    split: str | None = Field(None, description="the hub's or the bundled text's split")
    column: str = Field("text", description="the column that holds the text, in all but .txt")
    window: int | None = Field(None, ge=2, description="tokens in a window; windows do not overlap")
    windows: int | None = Field(None, ge=1, description="windows from the start of the text (default with --text: all)")
    dtype: Dtype | None = Field(
        None, description="number format to compute in (default: the run's; float32 for a model)"
    )
    device: Device = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps; for a model (for a run: --set problem.device=)"
    )
