"""What a user gave for a plugin or for a command of a problem, checked like the parameters of an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from evoprune.errors import InputError
from evoprune.experiment.explain import explain
from evoprune.experiment.parameters import schema


def schema_of(plugin: Any) -> type[BaseModel]:
    """The schema of the parameters of ``plugin``.

    That is its ``Settings``, or the plugin itself where it is a schema; of a function, its parameters after the first.
    """
    kind = getattr(plugin, "Settings", plugin)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else schema(kind, data=1)


def check_parameters(plugin: type[BaseModel] | Callable[..., Any], given: Mapping[str, Any], path: str) -> BaseModel:
    """The parameters ``given`` for ``plugin``, checked against its :func:`schema_of`.

    Raises :class:`evoprune.InputError` with a line for each fault, under ``path``.
    """
    model = schema_of(plugin)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise InputError(explain(error, model, path)) from None
