"""Turns pydantic's errors into lines for people: key path, what was expected, the nearest name."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from evoprune.errors import did_you_mean


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """One line for each fault in ``error``, which ``model`` raised; keys are put under ``prefix``."""
    return [_line(fault, model, prefix) for fault in error.errors()]


def _line(fault: Any, model: type[BaseModel], prefix: str) -> str:
    location = fault["loc"]
    path = ".".join(filter(None, [prefix, *map(str, location)])) or "the file"
    if fault["type"] == "extra_forbidden":
        return f"{path}: unknown key{did_you_mean(location[-1], _keys(model, location[:-1]))}"
    if fault["type"] == "missing":
        return f"{path}: missing; it must be given"
    expected = fault["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if not fault["type"].startswith("value_error"):
        expected += f", got {short(fault['input'])}"
    return f"{path}: {expected}"


def short(value: Any) -> str:
    """``value`` as Python writes it, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys that the (nested) model at ``location`` knows."""
    for step in location:
        field = model.model_fields.get(step)
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        models = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)
