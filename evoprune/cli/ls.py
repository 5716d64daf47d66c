"""``evoprune ls``: the keys of an experiment, and the operators and problems that are installed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from evoprune.experiment import catalogue, parameters
from evoprune.experiment.modules import HOME
from evoprune.experiment.spec import Experiment


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser("ls", help="list keys, operators and problems", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("experiment", "operators", "problems"), help="default: all")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Print the list."""
    sections = {"experiment": _experiment, "operators": _operators, "problems": _problems}
    for name, lines in sections.items():
        if options.what in {None, name}:
            print(*lines(), sep="\n")


def _experiment() -> Iterator[str]:
    yield "experiment"
    yield from _keys({key: field for key, field in Experiment.model_fields.items() if not parameters.model_of(field)})
    yield ""


def _operators() -> Iterator[str]:
    for slot in parameters.DATA_ARGUMENTS:
        yield f"operators.{slot}"
        yield from _entries(catalogue.operators(slot))
        yield ""


def _problems() -> Iterator[str]:
    yield "problem"
    for entry in catalogue.problems():
        yield from _entries([entry])
        for model, keys in catalogue.nested(entry.schema).items():
            yield f"    in {', '.join(keys)}:"
            yield from _keys(model.model_fields)
        yield ""
        for setting, plugins in catalogue.plugins(entry.name):
            yield f"{entry.name}: {setting}"
            yield from (f"  {name:20} {summary}".rstrip() for name, summary in plugins.items())
            yield ""
    yield "experiments that come with evoprune"
    for path in sorted((HOME / "problems").glob("*.yaml")):
        yield f"  problems/{path.name:24} {_first_comment(path.read_text(encoding='utf-8'))}"


def _entries(entries: Iterable[catalogue.Entry]) -> Iterator[str]:
    """A line for each plugin, then one for each parameter that a user gives."""
    for entry in entries:
        yield f"  {entry.name:20} {entry.summary}"
        yield from _keys(entry.keys)


def _keys(keys: Mapping[str, FieldInfo]) -> Iterator[str]:
    for key, field in keys.items():
        default = "required" if field.is_required() else f"= {_as_yaml(catalogue.plain_default(field))}"
        yield f"      {key:20} {default:12} {field.description or ''}".rstrip()


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _first_comment(text: str) -> str:
    first = text.split("\n", 1)[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
