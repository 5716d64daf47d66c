"""The parameters of the problem ``language_model``, which takes any transforms and any budget. Imports no torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from evoprune import Choice, InputError, check_parameters, find_plugin
from problems.language_model.settings import BUDGETS, TRANSFORMS, LanguageModelSettings


class AnyTransformSettings(LanguageModelSettings):
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
    def _known(self) -> AnyTransformSettings:
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


def chosen_transforms(settings: AnyTransformSettings) -> list[tuple[Any, Any]]:
    """The class of each transform, and its own settings."""
    kinds = [find_plugin(TRANSFORMS, chosen.use) for chosen in settings.transforms]
    return [
        (kind, kind.Settings.model_validate(chosen.parameters))
        for kind, chosen in zip(kinds, settings.transforms, strict=True)
    ]
