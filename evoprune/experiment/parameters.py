"""Parameters of plugins, read from a signature or schema and checked with pydantic."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from types import FunctionType
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import BaseModel, BeforeValidator, Field, create_model

from evoprune.experiment.explain import validated
from evoprune.interfaces.problem import Checked

DATA_ARGUMENTS = {"algorithm": 1, "select": 2, "mate": 2, "mutate": 1, "repair": 1, "survive": 1}
"""The slots of the toolbox, and how many leading arguments of each are data, not parameters."""


def _number_if_written_so(value: Any) -> Any:
    """``1e-3`` is a string to YAML 1.1; where no annotation says otherwise, it is a number."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value}")
    return value


Unannotated = Annotated[Any, BeforeValidator(_number_if_written_so)]


class Parameters(Checked, arbitrary_types_allowed=True):
    """Base of the parameters of functions. The engine supplies objects too, such as a budget."""


def schema(function: Callable[..., Any], data: int, supplied: frozenset[str] = frozenset()) -> type[BaseModel]:
    """Return a pydantic model of the parameters after ``data`` arguments; names in ``supplied`` are optional."""
    return (_schema if isinstance(function, FunctionType) else _schema.__wrapped__)(function, data, supplied)


@cache
def _schema(function: Callable[..., Any], data: int, supplied: frozenset[str]) -> type[BaseModel]:
    whole = function.func if isinstance(function, partial) else function
    hints = get_type_hints(whole, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[data:]:
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        if parameter.name in supplied:
            default = Field(None, validate_default=False)
        fields[parameter.name] = (hints.get(parameter.name, Unannotated), default)
    return create_model(f"{whole.__name__} parameters", __base__=Parameters, **fields)


def schema_of(plugin: Any) -> type[BaseModel]:
    """Return the model of a plugin's parameters: its ``Settings``, the model itself, or a schema of a function."""
    model = getattr(plugin, "Settings", plugin)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else schema(model, data=1)


def check_parameters(plugin: type[BaseModel] | Callable[..., Any], values: Mapping[str, Any], path: str) -> BaseModel:
    """Return ``values`` as the parameters of ``plugin``, checked by :func:`schema_of`. ``path``: for messages."""
    return validated(schema_of(plugin), dict(values), None, path)


def lacking(model: BaseModel, supplied: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parameters whose supplied value is None, unless the user set them or their annotation allows None."""
    for name, field in type(model).model_fields.items():
        missing = name in supplied and supplied[name] is None and name not in model.model_fields_set
        if missing and field.annotation is not Any and type(None) not in get_args(field.annotation):
            yield name


def arguments(model: BaseModel, supplied: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operator: the user's values, else the engine's."""
    ours = supplied.keys() - model.model_fields_set
    return {name: supplied[name] if name in ours else getattr(model, name) for name in type(model).model_fields}
