"""``evoprune ls``: the operators and problems that are installed, with their parameters."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from evoprune import parameters, registry
from evoprune.resolve import ALWAYS_SUPPLIED


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser("ls", help="list operators and problems", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("operators", "problems"), help="default: both")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Print the list."""
    if options.what != "problems":
        for slot in parameters.DATA_ARGUMENTS:
            print(f"operators.{slot}")
            print(*_operators(slot), sep="\n", end="\n\n")
    if options.what != "operators":
        print("problem")
        print(*_problems(), sep="\n", end="\n\n")
        print("experiments that come with evoprune")
        for path in sorted((registry.HOME / "problems").glob("*.yaml")):
            print(f"  problems/{path.name:24} {_first_comment(path.read_text(encoding='utf-8'))}")


def _operators(slot: str) -> Iterator[str]:
    supplied = ALWAYS_SUPPLIED | _supplied_by_problems()
    for name in sorted(registry.operators(slot)):
        function = registry.operator(slot, name)
        fields = parameters.schema(function, slot, supplied)
        yield from _entry(name, function, fields, supplied)


def _problems() -> Iterator[str]:
    for name in sorted(registry.names(registry.PROBLEMS)):
        problem = registry.problem(name)
        yield from _entry(name, problem, problem.Settings, frozenset())


def _supplied_by_problems() -> frozenset[str]:
    found = (registry.problem(name) for name in registry.names(registry.PROBLEMS))
    return frozenset().union(*(problem.supplies for problem in found))


def _entry(name: str, documented: Callable[..., Any], fields: type[BaseModel], hidden: frozenset[str]) -> Iterator[str]:
    """A line for the plugin, then one for each parameter that a user gives."""
    yield f"  {name:20} {_first_line(documented)}"
    for key, field in fields.model_fields.items():
        if key in hidden:
            continue
        default = "required" if field.default is PydanticUndefined else f"= {_plain(field.default)}"
        yield f"      {key:20} {default:12} {field.description or ''}".rstrip()


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, BaseModel) else value


def _first_line(documented: Callable[..., Any]) -> str:
    return (inspect.getdoc(documented) or "").split("\n", 1)[0]


def _first_comment(text: str) -> str:
    first = text.split("\n", 1)[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
