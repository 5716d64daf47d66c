"""The parameters of an operator, read from its signature and checked with pydantic.

An operator is a plain function in DEAP's form: first the data that DEAP hands over
(two individuals for ``mate``, ...), then parameters. Its signature is the schema.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, get_args, get_type_hints

from pydantic import BaseModel, BeforeValidator, Field, create_model
from pydantic.fields import FieldInfo

from evoprune.experiment import renamed
from evoprune.interfaces.schema import Checked

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
    """Base of the parameters of all operators. The engine supplies objects too, such as a budget."""

    renamed: ClassVar[Mapping[str, str]] = renamed.OPERATOR_PARAMETERS


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model that ``field`` takes a mapping for, null or not; None where it takes something else."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def parameters(function: Callable[..., Any], data: int) -> dict[str, inspect.Parameter]:
    """The parameters that follow the first ``data`` arguments of ``function``, by name."""
    found = list(inspect.signature(function).parameters.values())[data:]
    return {p.name: p for p in found if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def schema(function: Callable[..., Any], data: int, supplied: Collection[str] = ()) -> type[BaseModel]:
    """A pydantic model of what a user gives: parameters after ``data`` arguments, those in ``supplied`` optional."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in parameters(function, data).items():
        kind = hints.get(name, Unannotated)
        if name in supplied:
            fields[name] = (kind, Field(None, validate_default=False))
        elif parameter.default is inspect.Parameter.empty:
            fields[name] = (kind, ...)
        else:
            fields[name] = (kind, parameter.default)
    return create_model(f"{function.__name__} parameters", __base__=Parameters, **fields)


def lacking(model: BaseModel, supplied: Mapping[str, Any]) -> Iterator[str]:
    """The parameters whose supplied value is None, where neither the user nor the annotation allows that."""
    for name, field in type(model).model_fields.items():
        missing = name in supplied and supplied[name] is None and name not in model.model_fields_set
        if missing and field.annotation is not Any and type(None) not in get_args(field.annotation):
            yield name


def arguments(model: BaseModel, supplied: Mapping[str, Any]) -> dict[str, Any]:
    """What the operator is registered with: the user's values, then those the engine supplies."""
    given = {name: getattr(model, name) for name in type(model).model_fields}
    return {
        name: supplied[name] if name in supplied and name not in model.model_fields_set else value
        for name, value in given.items()
    }
