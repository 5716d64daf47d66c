"""The options of a command whose work a problem does: one for each field of a model that problems have for it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from evoprune.errors import InputError
from evoprune.experiment import catalogue, registry

_GIVEN = "given_to_problem"


def add(parser: argparse.ArgumentParser, kind: Literal["EvalOptions", "ExportOptions"]) -> None:
    """``--name`` for each field of the ``kind`` of each registered problem. Call it when ``parser`` has its own."""
    names = []
    for problem in sorted(registry.names(registry.PROBLEMS)):
        group = parser.add_argument_group(f"options of the problem {problem}")
        for name, field in _fields(problem, kind).items():
            with suppress(argparse.ArgumentError):  # it is the command's own, or another problem's too
                group.add_argument(f"--{name.replace('_', '-')}", **_argument(field), help=_help(field))
                names.append(name)
    parser.set_defaults(**{_GIVEN: names})


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Of the options that :func:`add` made, those that are in ``options``, as yet unchecked."""
    return {name: getattr(options, name) for name in getattr(options, _GIVEN) if getattr(options, name) is not None}


def _fields(problem: str, kind: str) -> Mapping[str, FieldInfo]:
    try:
        model: type[BaseModel] = getattr(registry.problem(problem), kind)
    except InputError:  # a stranger's package that cannot be imported: said when it is asked for
        return {}
    return model.model_fields


def _argument(field: FieldInfo) -> dict[str, Any]:
    return {"action": "store_true", "default": None} if field.annotation is bool else {}


def _help(field: FieldInfo) -> str:
    default = catalogue.plain_default(field)
    told = "" if default is None or default is False else f" (default: {default})"
    return f"{field.description or ''}{told}".replace("%", "%%")
