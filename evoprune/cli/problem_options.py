"""Options of the commands ``eval`` and ``export``, which problems declare as the fields of a schema."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from pydantic.fields import FieldInfo

from evoprune.errors import InputError
from evoprune.experiment import catalogue, registry
from evoprune.parts import Exporting, Measuring

Kind = Literal["EvalOptions", "ExportOptions"]

_GIVEN = "given_to_problem"


def add(parser: argparse.ArgumentParser, kind: Kind) -> None:
    """Add ``--name`` for each field of ``kind`` of each registered problem. To be called after the parser's own."""
    names = []
    for problem in sorted(registry.names(registry.PROBLEMS)):
        fields = _fields(problem, kind)
        group = parser.add_argument_group(f"options of the problem {problem}") if fields else parser
        for name, field in fields.items():
            with suppress(argparse.ArgumentError):  # the command or another problem has this option
                group.add_argument(f"--{name.replace('_', '-')}", **_argument(field), help=_help(field))
                names.append(name)
    parser.set_defaults(**{_GIVEN: names})


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The options made by :func:`add` that were given, not yet checked."""
    return {name: getattr(options, name) for name in getattr(options, _GIVEN) if getattr(options, name) is not None}


def _fields(problem: str, kind: Kind) -> Mapping[str, FieldInfo]:
    try:
        found = registry.problem(problem)
    except InputError:  # it cannot be imported, which is reported when it is used
        return {}
    if kind == "EvalOptions":
        return found.EvalOptions.model_fields if issubclass(found, Measuring) else {}
    return found.ExportOptions.model_fields if issubclass(found, Exporting) else {}


def _argument(field: FieldInfo) -> dict[str, Any]:
    return {"action": "store_true", "default": None} if field.annotation is bool else {}


def _help(field: FieldInfo) -> str:
    default = catalogue.plain_default(field)
    told = "" if default is None or default is False else f" (default: {default})"
    return f"{field.description or ''}{told}".replace("%", "%%")
