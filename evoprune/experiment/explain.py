"""Pydantic's errors as lines for people: key path, expected value, nearest name."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evoprune.console.errors import InputError, cut_repr, did_you_mean, nearest
from evoprune.interfaces.problem import model_of

Model = TypeVar("Model", bound=BaseModel)

_KINDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "tuple": "a list", "dict": "a mapping"}
"""Expected values, by the first word of pydantic's types of errors."""

_ANY_OF = "any_of"  # the type of a merged fault of a union

_OF_A_UNION = re.compile(r"bool|int|float|str|none|.*\[.*\]")
"""Names of the alternatives of a union, which pydantic appends to the location of a fault."""

OPTION = "--"  # the prefix of options of a command

_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "of at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "of at most"),
}


def validated(model: type[Model], value: Any, source: str | None, prefix: str = "") -> Model:
    """Return ``value`` as a ``model``. Raises :class:`evoprune.InputError` with all faults."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InputError(explain(error, model, prefix), source) from None


def explain(
    error: ValidationError, model: type[BaseModel], prefix: str = "", elsewhere: Mapping[str, str] | None = None
) -> list[str]:
    """Return a line for each fault. ``elsewhere``: the right path of a misplaced key."""
    return [_line(fault, model, prefix, elsewhere or {}) for fault in _faults(error)]


def _faults(error: ValidationError) -> list[Any]:
    """Return the faults of ``error``; the alternatives of a union are merged."""
    faults: dict[tuple[Any, ...], Any] = {}
    for fault in error.errors():
        (*outer, last), kind = fault["loc"] or ("",), _kind(fault)
        if not (kind and isinstance(last, str) and _OF_A_UNION.fullmatch(last)):
            faults[*fault["loc"], fault["type"]] = fault
            continue
        before = faults.get(tuple(outer))
        expected = [*(before["ctx"]["expected"] if before else ()), kind]
        faults[tuple(outer)] = {**fault, "loc": tuple(outer), "type": _ANY_OF, "ctx": {"expected": expected}}
    return list(faults.values())


def _kind(fault: Any) -> str | None:
    if fault["type"] == "literal_error":
        return str(fault["ctx"]["expected"])
    return _KINDS.get(fault["type"].split("_")[0])


def _line(fault: Any, model: type[BaseModel], prefix: str, elsewhere: Mapping[str, str]) -> str:
    location = fault["loc"]
    path = ".".join(filter(None, [prefix, *map(str, location)])) or "the file"
    if prefix == OPTION:
        path = f"--{location[0].replace('_', '-')}" if location else "options"
    if fault["type"] == "extra_forbidden":
        place = _model_at(model, location[:-1])
        if path in elsewhere:
            return f"{path}: unknown key; did you mean '{elsewhere[path]}'?"
        return f"{path}: unknown key{did_you_mean(location[-1], place.model_fields if place else ())}"
    if fault["type"] == "missing":
        return f"{path}: missing; it must be given"
    if fault["type"].startswith("value_error"):
        return f"{path}: {fault['msg'].removeprefix('Value error, ')}"
    return f"{path}: {_expected(fault, model)}, got {cut_repr(fault['input'])}"


def _expected(fault: Any, model: type[BaseModel]) -> str:
    kind = fault["type"]
    if kind in _LIMITS:
        key, relation = _LIMITS[kind]
        return f"expected a number {relation} {fault['ctx'][key]:.10g}"
    if kind in {"model_type", "model_attributes_type"}:
        inner = _model_at(model, fault["loc"])
        return "expected a mapping" + (f" with keys among {', '.join(inner.model_fields)}" if inner else "")
    if kind == _ANY_OF:
        return f"expected {' or '.join(dict.fromkeys(fault['ctx']['expected']))}"
    if (expected := _kind(fault)) and kind != "literal_error":
        return f"expected {expected}"
    if kind in {"string_pattern_mismatch", "string_type"} and (outer := _model_at(model, fault["loc"][:-1])):
        field = outer.model_fields.get(str(fault["loc"][-1]))
        if field and field.description:
            return f"expected {field.description}"
    if kind == "literal_error":
        near = nearest(str(fault["input"]), re.findall(r"'([^']*)'", fault["ctx"]["expected"]))
        return f"expected {fault['ctx']['expected']}" + (f" (did you mean '{near}'?)" if near else "")
    return str(fault["msg"]).replace("Input should be", "expected")


def _model_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel] | None:
    """Return the (nested) model at ``location``, if any."""
    inner: type[BaseModel] | None = model
    for step in location:
        field = inner.model_fields.get(step) if inner else None
        inner = model_of(field) if field else None
    return inner
