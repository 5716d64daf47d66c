"""Settings of the problem on a language model and of the presets, and options of commands. Imports no torch."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from evoprune import Fraction, InputError
from evoprune.plugins import Choice, check_parameters
from evoprune.problems.language_model.budgets import BUDGETS
from evoprune.problems.language_model.evaluation import EvaluationSettings
from evoprune.problems.language_model.evaluation.harness import TaskSettings
from evoprune.problems.language_model.models.settings import Device, Dtype, Source
from evoprune.problems.language_model.models.wings import find_in_wings
from evoprune.problems.language_model.results.recovery import RecoverySettings, recovery_settings
from evoprune.problems.language_model.texts.settings import TextSettings, text_fault
from evoprune.problems.language_model.texts.tasks import is_task
from evoprune.problems.language_model.transforms import TRANSFORMS
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings


def _check(named: Iterable[tuple[str, str, Choice]]) -> None:
    """Raise ValueError for unknown plugins and parameters; ``named``: key, group of entry points, choice."""
    faults: list[str] = []
    for key, group, chosen in named:
        try:
            check_parameters(find_in_wings(group, chosen.use), chosen.parameters, key)
        except InputError as error:
            faults += error.problems
    if faults:
        raise ValueError("; ".join(faults))


if TYPE_CHECKING:
    Recover = RecoverySettings
else:
    Recover = recovery_settings()


class ProblemSettings(EvaluationSettings):
    """Parameters of every problem on a language model: transforms, and a limit."""

    recover: Recover | None = Field(
        None, description="train the result towards the predictions of the dense model; null: no training"
    )

    uniform: bool = Field(
        True, description="score and report the model that loses the same everywhere, as a baseline of the search"
    )

    if TYPE_CHECKING:  # a problem's own keys, or found from these

        @property
        def transforms(self) -> Sequence[Choice]:
            """The transforms by name, with their parameters."""

        @property
        def budget(self) -> Choice | None:
            """The limit, by the name of a budget."""

    @property
    def chosen_transforms(self) -> list[tuple[Any, Any]]:
        """Class and settings of each transform. Imports torch."""
        kinds = [find_in_wings(TRANSFORMS, chosen.use) for chosen in self.transforms]
        return [
            (kind, kind.Settings.model_validate(chosen.parameters))
            for kind, chosen in zip(kinds, self.transforms, strict=True)
        ]

    @property
    def about(self) -> list[str]:
        """The transforms, in words."""
        return [chosen.use for chosen in self.transforms]

    @property
    def missing(self) -> Iterator[str]:
        """A line for each missing file, folder or package, with its key if it has one."""
        yield from self.missing_inputs
        for kind, settings in self.chosen_transforms:
            yield from kind.missing(settings)

    @property
    def missing_inputs(self) -> Iterator[str]:
        """As :attr:`missing`, without the needs of transforms."""
        yield from super().missing_inputs
        if self.recover and (fault := self.recover.text_fault):
            yield f"problem.recover.text: {fault}"


class LanguageModelSettings(ProblemSettings):
    """Parameters of the problem ``language_model``: any transforms, under any one budget."""

    transforms: tuple[Choice, ...] = Field(
        description="a registered transform and its parameters, or a list of transforms"
    )
    budget: Choice | None = Field(
        None, description="the limit, by a registered name, and its parameters; null is no budget"
    )

    @field_validator("transforms", mode="before", json_schema_input_type=Choice | tuple[Choice, ...])
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [value]

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.transforms:
            raise ValueError("transforms: expected at least one")
        named = [("transforms", TRANSFORMS, chosen) for chosen in self.transforms]
        _check([*named, ("budget", BUDGETS, self.budget)] if self.budget else named)
        return self


class PruningSettings(ProblemSettings, WeightsSettings):
    """Parameters of the problem ``pruning``: the parameters of the transform ``weights``, and the sparsity."""

    sparsity: Fraction = Field(0.45, description="share of the prunable weights that is removed")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.min_sparsity <= self.sparsity <= self.max_sparsity:
            reach = f"min_sparsity {self.min_sparsity:g} and max_sparsity {self.max_sparsity:g}"
            raise ValueError(f"sparsity {self.sparsity:g} cannot be reached with {reach}")
        return self

    @property
    def transforms(self) -> Sequence[Choice]:
        return [Choice(use="weights", **self.model_dump(include={*WeightsSettings.model_fields}))]

    @property
    def budget(self) -> Choice:
        return Choice(use="weights", removed=self.sparsity)

    @property
    def missing(self) -> Iterator[str]:
        return self.missing_inputs  # the transform needs nothing else, and its class imports torch

    @property
    def about(self) -> list[str]:
        return [f"{100 * self.sparsity:.4g}% by {self.score}"]


def _readable(source: str) -> str:
    if fault := text_fault(TextSettings(source=source)):
        raise ValueError(fault)
    return source


Readable = Annotated[Source, AfterValidator(_readable)]


class EvalOptions(TaskSettings):
    """Options of the command ``eval``."""

    text: Readable | None = Field(
        None, description="hub id, .txt, .jsonl or .parquet file, bundled:python-docs (default: the run's report text)"
    )
    split: str | None = Field(None, description="the hub's or the bundled text's split")
    column: str = Field("text", description="the column that holds the text, in all but .txt")
    window: int | None = Field(None, ge=2, description="tokens in a window; windows do not overlap")
    windows: int | None = Field(None, ge=1, description="windows from the start of a text (default: all; see --all)")
    dtype: Dtype | None = Field(
        None, description="number format to compute in (default: the run's; float32 for a model)"
    )
    device: Device = Field(
        "auto", description="auto, cpu, cuda, cuda:N, xpu, xpu:N or mps; for a model (for a run: --set problem.device=)"
    )
    against: str | None = Field(
        None,
        description="for an exported file: its source, whose predictions it is compared with; --tasks are .jsonl "
        "files then, as --task of prune reads them",
    )
    all: bool = Field(False, description="for --against: read whole texts, in place of 20,000 tokens of each")
    also: tuple[Readable, ...] = Field(
        (), description="for --against: another text, or task file, to compare on; may be given more than once"
    )

    @model_validator(mode="after")
    def _compared(self) -> Self:
        for option in ("also", "all"):
            if getattr(self, option) and not self.against:
                raise ValueError(f"{option}: is for a file and --against its source")
        for task in self.names if self.against else ():
            if not is_task(TextSettings(source=task)):
                raise ValueError(f"tasks: {task}: expected a .jsonl file with prompt and answer for --against")
        return self
