"""The parts of the reference that are made from the code: keys of an experiment, operators, commands."""

import argparse
import inspect
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from evoprune.cli.main import parser
from evoprune.experiment import catalogue, parameters
from evoprune.experiment.spec import Choice, Experiment, Operators

_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_NAMES = {"integer": "whole number", "string": "text", "boolean": "true or false", "null": "null", "object": "mapping"}

_MODELS = {"Choice": "a name, or a mapping with `use` and parameters", "Operators": "mapping of the slots below"}


def experiment() -> str:
    """Tables of all keys that an experiment's file may hold."""
    parts = ["## The experiment", _table(Experiment, Experiment.model_fields)]
    for slot, field in Operators.model_fields.items():
        parts += [f"## operators.{slot}", f"{_sentence(field.description)} Default: {_default(field)}."]
        for entry in catalogue.operators(slot):
            parts += [f"### {slot}: {entry.name}", f"{entry.summary} See {{py:func}}`{_place(entry.plugin)}`."]
            parts += [_table(entry.schema, entry.keys)] if entry.keys else []
    chosen: dict[str, list[catalogue.Entry]] = {}
    for entry in catalogue.problems():
        parts += [f"## problem: {entry.name}", *_tables(entry)]
        for setting, group in entry.plugin.plugin_groups.items():  # type: ignore[attr-defined]
            rows = [f"| `{name}` | {_cell(summary)} |" for name, summary in catalogue.summaries(group).items()]
            parts += [f"### {entry.name}: {setting}", "\n".join(["| name | meaning |", "|---|---|", *rows])]
        chosen |= entry.chosen  # problems may share plugins
    for key, entries in chosen.items():
        for entry in entries:
            parts += [f"## problem.{key}: {entry.name}", *_tables(entry)]
    return "\n\n".join(parts)


def operators() -> str:
    """The docstring of each registered operator."""
    parts = []
    for slot in parameters.DATA_ARGUMENTS:
        parts.append(f"## {slot}")
        parts += [_function(entry.plugin) for entry in catalogue.operators(slot)]
    return "\n\n".join(parts)


def commands() -> str:
    """The help of each command."""
    before, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "100"
    try:
        (found,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
        return "\n\n".join(f"## {name}\n\n```text\n{one.format_help()}```" for name, one in found.choices.items())
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)


TEXTS = {"experiment": experiment, "operators": operators, "commands": commands}


def _tables(entry: catalogue.Entry) -> Iterator[str]:
    """The summary of a plugin, its keys, and those of the mappings under them."""
    yield entry.summary
    yield _table(entry.schema, entry.keys)
    for nested in catalogue.nested(entry.schema):
        yield f"### {nested.__name__}"
        yield _table(nested)


def _function(function: Callable[..., Any]) -> str:
    """Signature and docstring. The annotations are constraints, which the experiment's page has in words."""
    signature = inspect.signature(function)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    head = f".. py:function:: {_place(function)}{inspect.Signature(bare)}"
    return f"```{{eval-rst}}\n{head}\n\n{textwrap.indent(inspect.getdoc(function) or '', '   ')}\n```"


def _place(plugin: Any) -> str:
    return f"{plugin.__module__}.{plugin.__qualname__}"


def _sentence(text: str | None) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _table(model: type[BaseModel], keys: Mapping[str, FieldInfo] | None = None) -> str:
    keys = model.model_fields if keys is None else keys
    given = create_model(model.__name__, **{key: (field.annotation, field) for key, field in keys.items()})
    properties = given.model_json_schema(mode="validation").get("properties", {})
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in keys.items():
        kind = _kind(properties.get(key, {}))
        lines.append(f"| `{key}` | {kind} | {_default(field)} | {_cell(field.description or '')} |")
    return "\n".join(lines)


def _kind(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _MODELS.get(name, f"mapping, see {name}")
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    name = schema.get("type", "any")
    limits = [f"{sign} {schema[word]:,}" for word, sign in _LIMITS.items() if word in schema]
    return " ".join([_NAMES.get(name, name), *([_cell(", ".join(limits))] if limits else [])])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    value = default.use if isinstance(default, Choice) else catalogue.plain_default(field)
    if isinstance(value, tuple):
        value = list(value)
    return "`null`" if value is None else f"`{_cell(str(value))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
