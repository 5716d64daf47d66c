"""Settings of the problems on a language model, as in a YAML file. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from evoprune import Choice, Fraction, InputError, check_parameters, find_plugin
from problems.allocations import ALLOCATIONS
from problems.budgets import BUDGETS
from problems.distillation.settings import RunSettings
from problems.models.settings import model_fault, registered
from problems.texts.settings import TextSettings, text_fault
from problems.transforms import TRANSFORMS
from problems.transforms.weights.settings import WeightsSettings


class LanguageModelSettings(RunSettings):
    """Parameters of the problem ``language_model``: any transforms, under any one budget."""

    transforms: tuple[Choice, ...] = Field(
        description="how the model is made smaller: a registered name and its parameters, or a list of these",
    )
    budget: Choice | None = Field(
        None, description="the limit, by a registered name, and its parameters; null is no budget"
    )

    @field_validator("transforms", mode="before", json_schema_input_type=Choice | tuple[Choice, ...])
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [value]

    @model_validator(mode="after")
    def _known(self) -> LanguageModelSettings:
        if not self.transforms:
            raise ValueError("transforms: expected at least one")
        named = [("transforms", TRANSFORMS, chosen) for chosen in self.transforms]
        named += [("budget", BUDGETS, self.budget)] if self.budget else []
        faults: list[str] = []
        for key, group, chosen in named:
            try:
                check_parameters(find_plugin(group, chosen.use), chosen.parameters, key)
            except InputError as error:
                faults += error.problems
        if faults:
            raise ValueError("; ".join(faults))
        return self


def chosen_transforms(settings: LanguageModelSettings) -> list[tuple[Any, Any]]:
    """The class of each transform, and its own settings."""
    kinds = [find_plugin(TRANSFORMS, chosen.use) for chosen in settings.transforms]
    return [
        (kind, kind.Settings.model_validate(chosen.parameters))
        for kind, chosen in zip(kinds, settings.transforms, strict=True)
    ]


class CompressionSettings(LanguageModelSettings):
    """Parameters of the problem ``compression``: those of ``language_model``, with a limit."""

    budget: Choice = Field(description="the limit, by a registered name, and its parameters, such as bytes")
    objective: Literal["perplexity", "kl"] = Field(
        "kl", description="fitness: divergence from the dense model, or perplexity"
    )


UNIFORM = "uniform"
"""The name of the uniform allocation among initial genomes."""

TOLERANCE = 1e-4
"""The largest distance at which a sparsity counts as the target sparsity."""

AllocationName = Annotated[str, registered(ALLOCATIONS)]
InitialName = Annotated[str, registered(ALLOCATIONS, UNIFORM)]


def uniform_name(sparsity: float) -> str:
    """The name of the uniform allocation at ``sparsity`` among the references."""
    return f"uniform {100 * sparsity:g}%"


class PruningSettings(RunSettings, WeightsSettings):
    """Parameters of the pruning problem."""

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
    second_objective: Literal["none", "sparsity"] = Field(
        "none", description="sparsity: the search finds all trade-offs, without a budget; use nsga2, and no repair"
    )

    @model_validator(mode="after")
    def _consistent(self) -> PruningSettings:
        if not self.min_sparsity <= self.sparsity <= self.max_sparsity:
            raise ValueError(
                f"sparsity {self.sparsity:g} cannot be reached with genes between min_sparsity "
                f"{self.min_sparsity:g} and max_sparsity {self.max_sparsity:g}"
            )
        if self.genes == "block_and_kind" and self.found:
            raise ValueError(
                "allocations, also as initial_genomes or prior, need genes that are sparsities of their own: "
                "block, matrix or kind"
            )
        return self

    @property
    def found(self) -> tuple[str, ...]:
        """The allocations without search that the settings name: as references, initial genomes or prior."""
        prior = [self.prior] if self.prior else []
        return tuple(dict.fromkeys([*self.allocations, *(n for n in self.initial_genomes if n != UNIFORM), *prior]))


def missing(settings: RunSettings) -> Iterator[str]:
    """A line for each file, folder or package that is not there, with its key."""
    if fault := model_fault(settings.model):
        yield f"problem.model: {fault}"
    roles = {"search_text": settings.search_text, "report_text": settings.report_text}
    roles["calibration_text"] = settings.calibration
    for role, its_text in roles.items():
        if (fault := text_fault(its_text)) and (role != "calibration_text" or settings.calibration_text):
            yield f"problem.{role}: {fault}"
    if settings.recover and find_spec("accelerate") is None:
        yield "problem.recover: needs accelerate; pip install 'evoprune[recover]'"
    text = settings.recover and settings.recover.text
    if text and (fault := text_fault(TextSettings(source=text))):
        yield f"problem.recover.text: {fault}"
