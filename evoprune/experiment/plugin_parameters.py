"""What a user gave for a plugin or for a command of a problem, checked like the parameters of an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from evoprune.errors import InputError
from evoprune.experiment.explain import explain
from evoprune.experiment.parameters import schema


def check_parameters(plugin: type[BaseModel] | Callable[..., Any], given: Mapping[str, Any], path: str) -> BaseModel:
    """The parameters ``given`` for ``plugin``, checked.

    ``plugin``: the schema of its parameters, or a function whose parameters after the first are the user's.
    Raises :class:`evoprune.InputError` with a line for each fault, under ``path``.
    """
    model = plugin if isinstance(plugin, type) and issubclass(plugin, BaseModel) else schema(plugin, data=1)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise InputError(explain(error, model, path)) from None
