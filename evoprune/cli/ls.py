"""``evoprune ls``: the operators and problems that are installed, with their parameters."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from evoprune.experiment import catalogue, parameters, registry


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
            print(*_lines(catalogue.operators(slot)), sep="\n", end="\n\n")
    if options.what != "operators":
        print("problem")
        print(*_lines(catalogue.problems()), sep="\n", end="\n\n")
        print("experiments that come with evoprune")
        for path in sorted((registry.HOME / "problems").glob("*.yaml")):
            print(f"  problems/{path.name:24} {_first_comment(path.read_text(encoding='utf-8'))}")


def _lines(entries: Iterable[catalogue.Entry]) -> Iterator[str]:
    """A line for each plugin, then one for each parameter that a user gives."""
    for entry in entries:
        yield f"  {entry.name:20} {entry.summary}"
        for key, field in entry.keys.items():
            default = "required" if field.is_required() else f"= {catalogue.plain_default(field)}"
            yield f"      {key:20} {default:12} {field.description or ''}".rstrip()


def _first_comment(text: str) -> str:
    first = text.split("\n", 1)[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
