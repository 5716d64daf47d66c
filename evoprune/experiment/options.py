"""Options of commands from the fields of a model, and ``--set``."""

import argparse
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, get_origin

from pydantic.fields import FieldInfo

from evoprune.experiment import catalogue

_GIVEN = "given_to_problem"


def add_set(parser: argparse.ArgumentParser, explanation: str) -> None:
    """Add ``--set``, which is repeatable."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=explanation)


def add_options(parser: argparse.ArgumentParser, fields: Mapping[str, FieldInfo], title: str = "") -> None:
    """Add ``--name`` for each of ``fields``, in a group with a ``title``, unless another option has that name.

    Options of a tuple are repeatable.
    """
    group = parser.add_argument_group(title) if title else parser
    names = list(parser.get_default(_GIVEN) or ())
    for name, field in fields.items():
        switch: dict[str, Any] = {"action": "store_true", "default": None} if field.annotation is bool else {}
        if get_origin(field.annotation) is tuple:
            switch = {"action": "append"}
        with suppress(argparse.ArgumentError):
            group.add_argument(f"--{name.replace('_', '-')}", **switch, help=_help(field))
            names.append(name)
    parser.set_defaults(**{_GIVEN: names})


def read_declared(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of :func:`add_options` that the user set, not yet checked."""
    return {name: getattr(options, name) for name in getattr(options, _GIVEN) if getattr(options, name) is not None}


def _help(field: FieldInfo) -> str:
    default = catalogue.plain_default(field)
    note = "" if default in (None, False, ()) else f" (default: {default})"
    return f"{field.description or ''}{note}".replace("%", "%%")
