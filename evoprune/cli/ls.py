"""``evoprune ls``: the keys of an experiment, the operators and problems that are installed, or what is called NAME."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from evoprune.errors import InputError, did_you_mean
from evoprune.experiment import catalogue, parameters
from evoprune.experiment.registry import HOME
from evoprune.experiment.spec import Experiment
from evoprune.interfaces.schema import model_of


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser("ls", help="list keys, operators and problems", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        metavar="WHAT",
        help="experiment, operators, problems, or the name of an operator, problem, transform or budget, for its keys "
        "(default: all, but for keys of transforms and budgets)",
    )
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Print the list. Raises :class:`evoprune.InputError` if nothing has the name that was given."""
    sections = {"experiment": _experiment, "operators": _operators, "problems": _problems}
    if options.what in {None, *sections}:
        chosen = [lines() for name, lines in sections.items() if options.what in {None, name}]
    else:
        chosen = [_called(options.what)]
    for lines in chosen:
        print(*lines, sep="\n")


def _called(name: str) -> Iterator[str]:
    """All that is installed under ``name``, each with its place in an experiment."""
    places = {f"operators.{slot}": list(catalogue.operators(slot)) for slot in parameters.DATA_ARGUMENTS}
    places["problem"] = list(catalogue.problems())
    for problem in places["problem"]:
        places |= {f"problem.{key}": plugins for key, plugins in problem.chosen.items()}
    known = {entry.name for entries in places.values() for entry in entries}
    if name not in known:
        raise InputError(f"nothing that is installed is called '{name}'{did_you_mean(name, known)}", "ls")
    for place, entries in places.items():
        if found := [entry for entry in entries if entry.name == name]:
            yield place
            yield from _entries(found)


def _experiment() -> Iterator[str]:
    yield "experiment"
    yield from _keys({key: field for key, field in Experiment.model_fields.items() if not model_of(field)})
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
            hint = " (python -m evoprune ls NAME: the keys of one)" if setting in entry.groups else ""
            yield f"{entry.name}: {setting}{hint}"
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
