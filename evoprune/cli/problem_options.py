"""Options of the commands ``eval``, ``export`` and ``recover``, which problems declare as the fields of a schema."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar

from pydantic.fields import FieldInfo

from evoprune.errors import InputError
from evoprune.experiment import catalogue, registry
from evoprune.interfaces.export import Exporting, Measuring, Recovering

Kind = Literal["EvalOptions", "ExportOptions", "RecoverOptions"]

_PARTS = {"EvalOptions": Measuring, "ExportOptions": Exporting, "RecoverOptions": Recovering}

Part = TypeVar("Part", bound=Measuring)

_GIVEN = "given_to_problem"


def add(parser: argparse.ArgumentParser, kind: Kind) -> None:
    """Add ``--name`` for each field of ``kind`` of each registered problem. To be called after the parser's own."""
    names = []
    for problem in sorted(registry.names(registry.PROBLEMS)):
        fields = _fields(problem, kind)
        alike = [name for name in registry.names(registry.PROBLEMS) if _fields(name, kind).keys() == fields.keys()]
        group = parser.add_argument_group(f"options of {', '.join(sorted(alike))}") if fields else parser
        for name, field in fields.items():
            with suppress(argparse.ArgumentError):  # the command or another problem has this option
                group.add_argument(f"--{name.replace('_', '-')}", **_argument(field), help=_help(field))
                names.append(name)
    parser.set_defaults(**{_GIVEN: names})


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The options made by :func:`add` that were given, not yet checked."""
    return {name: getattr(options, name) for name in getattr(options, _GIVEN) if getattr(options, name) is not None}


def problem_of(options: argparse.Namespace, part: type[Part]) -> type[Part]:
    """The problem for the ``source`` of ``options``, which is no run: the one with ``part`` that can measure it.

    Or the one that ``options.problem`` names. Raises :class:`evoprune.InputError` unless there is one.
    """
    if options.problem:
        problem = registry.problem(options.problem)
        if not issubclass(problem, part):
            raise InputError(f"the problem {options.problem} has nothing to {_does(part)}", "--problem")
        return problem
    found = {name: problem for name, problem in _having(part) if problem.measures(options.source)}
    if not found:
        raise InputError(f"is no run's folder, and no installed problem can {_does(part)} it", options.source)
    if len(found) > 1:
        raise InputError(
            f"several problems can {_does(part)} it: {', '.join(found)}; choose with --problem", options.source
        )
    return next(iter(found.values()))


def _does(part: type[Measuring]) -> str:
    return "recover" if issubclass(part, Recovering) else "measure"


def _having(part: type[Part]) -> Iterator[tuple[str, type[Part]]]:
    for name in sorted(registry.names(registry.PROBLEMS)):
        with suppress(InputError):  # it cannot be imported, which is reported when it is used
            problem = registry.problem(name)
            if issubclass(problem, part):
                yield name, problem


def _fields(problem: str, kind: Kind) -> Mapping[str, FieldInfo]:
    try:
        found = registry.problem(problem)
    except InputError:  # it cannot be imported, which is reported when it is used
        return {}
    fields: Mapping[str, FieldInfo] = getattr(found, kind).model_fields if issubclass(found, _PARTS[kind]) else {}
    return fields


def _argument(field: FieldInfo) -> dict[str, Any]:
    return {"action": "store_true", "default": None} if field.annotation is bool else {}


def _help(field: FieldInfo) -> str:
    default = catalogue.plain_default(field)
    told = "" if default is None or default is False else f" (default: {default})"
    return f"{field.description or ''}{told}".replace("%", "%%")
