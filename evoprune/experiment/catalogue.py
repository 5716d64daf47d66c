"""The installed operators, problems and problems' own plugins with their parameters, and their JSON Schema."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from evoprune.experiment import parameters, registry
from evoprune.experiment.resolve import ALWAYS_SUPPLIED, operator_schema
from evoprune.experiment.spec import AUTO, Choice, Experiment
from evoprune.interfaces.problem import Checked, model_of

Json = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """An operator or a problem: registered name, schema of the parameters, parameters that the engine supplies."""

    name: str
    plugin: Callable[..., Any]
    schema: type[BaseModel]
    supplied: frozenset[str] = frozenset()

    @property
    def keys(self) -> dict[str, FieldInfo]:
        return {key: field for key, field in self.schema.model_fields.items() if key not in self.supplied}

    @property
    def summary(self) -> str:
        return _first_sentence(inspect.getdoc(self.plugin))

    @property
    def groups(self) -> dict[str, str]:
        """Keys of a problem that name plugins with parameters, to the groups of entry points."""
        groups = getattr(self.plugin, "plugin_groups", {})
        return {key: group for key, group in groups.items() if model_of(self.keys[key]) is Choice}

    @property
    def chosen(self) -> dict[str, list[Entry]]:
        """The plugins of each of :attr:`groups`, by its key. Imports them."""
        chosen = {}
        for key, group in self.groups.items():
            plugins = {name: registry.find_plugin(group, name) for name in sorted(registry.names(group))}
            chosen[key] = [Entry(name, plugin, parameters.schema_of(plugin)) for name, plugin in plugins.items()]
        return chosen


def operators(slot: str) -> Iterator[Entry]:
    """Yield the registered operators of ``slot``; the last algorithm is ``auto``."""
    for name in sorted(registry.operators(slot)):
        function = registry.operator(slot, name)
        yield Entry(name, function, operator_schema(slot, function), ALWAYS_SUPPLIED)
    if slot == "algorithm":
        yield Entry(AUTO, registry.default_choice(AUTO, "genes"), Checked)


def problems() -> Iterator[Entry]:
    """Yield the registered problems."""
    for name in sorted(registry.names(registry.PROBLEMS)):
        problem = registry.problem(name)
        yield Entry(name, problem, problem.Settings)


def nested(model: type[BaseModel]) -> dict[type[BaseModel], list[str]]:
    """Return the models of nested mappings in ``model``, at any depth, with their keys."""
    models: dict[type[BaseModel], list[str]] = {}
    for key, field in model.model_fields.items():
        if model_of_key := model_of(field):
            models.setdefault(model_of_key, []).append(key)
            for inner, keys in nested(model_of_key).items():
                models.setdefault(inner, []).extend(f"{key}.{deeper}" for deeper in keys)
    return models


def summaries(group: str) -> dict[str, str]:
    """The plugins of a ``group`` of entry points, with the first line of their docstrings."""
    return {name: _summary_in_source(entry) for name, entry in sorted(registry.names(group).items())}


def _summary_in_source(entry: EntryPoint) -> str:
    """The first line of a plugin's docstring, without importing its module, which may need torch."""
    try:
        spec = importlib.util.find_spec(entry.module)
        tree = ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    except (ImportError, OSError, SyntaxError, ValueError):  # another package, not completely installed
        return ""
    named = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == entry.attr)
    return next((_first_sentence(ast.get_docstring(node)) for node in named), "")


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join((text or "").split("\n\n", 1)[0].split())
    return re.split(r"(?<=[.])\s", paragraph.replace(":term:", "").replace("*", ""), maxsplit=1)[0]


def plain_default(field: FieldInfo) -> Any:
    """The default of ``field`` as in YAML; of a nested model only its differences from the model's defaults."""
    default = field.default
    return default.model_dump(mode="json", exclude_defaults=True) if isinstance(default, BaseModel) else default


def json_schema() -> Json:
    """Return the JSON Schema by which editors complete and check experiments, without relations between keys."""
    shared: Json = {}
    whole = _schema_in(Experiment, "experiment", shared)
    whole["properties"]["problem"] = _choice(problems(), "problem", shared)
    slots = {slot: _choice(operators(slot), slot, shared) for slot in parameters.DATA_ARGUMENTS}
    slots["repair"] = {"anyOf": [slots["repair"], {"type": "null"}]}
    described = shared["experiment.Operators"]["properties"]
    for slot, chosen in slots.items():
        described[slot] = {"description": described[slot].get("description", "")} | chosen
    return {
        "$schema": "http://json-schema.org/draft-07/schema#", "title": "An experiment of evoprune", **whole,
        "$defs": shared,
    }  # fmt: skip


def _choice(entries: Iterable[Entry], place: str, shared: Json) -> Json:
    names, cases = [], []
    for entry in entries:
        schema, use = _parameters(entry, f"{place}.{entry.name}", shared), {"const": entry.name}
        then = schema | {"properties": {"use": use | {"description": entry.summary}} | schema.get("properties", {})}
        cases.append({"if": {"properties": {"use": use}, "required": ["use"]}, "then": then})
        names.append(entry.name)
    named = {"anyOf": [{"enum": names}, {"type": "string", "pattern": ":"}]}
    mapping = {"type": "object", "properties": {"use": named}, "required": ["use"], "allOf": cases}
    return {"if": {"type": "string"}, "then": named, "else": mapping}


def _parameters(entry: Entry, place: str, shared: Json) -> Json:
    """The schema of the parameters of ``entry``; a key that names plugins has the schemas of all plugins."""
    schema = _schema_in(entry.schema, place, shared)
    for key, plugins in entry.chosen.items():
        shared[f"{place}.{key}"] = _choice(plugins, f"{place}.{key}", shared)
        any_plugin, chosen = (f'"#/$defs/{place}.{name}"' for name in (Choice.__name__, key))
        schema["properties"][key] = json.loads(json.dumps(schema["properties"][key]).replace(any_plugin, chosen))
    return schema


class _Lenient(GenerateJsonSchema):
    """Allows any value for objects that the engine supplies to operators, which have no JSON form."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Json:  # noqa: ARG002
        return {}


def _schema_in(model: type[BaseModel], place: str, shared: Json) -> Json:
    """The schema of ``model``; schemas of inner models go to ``shared``, under names that begin with ``place``."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{place}.{{model}}", schema_generator=_Lenient)
    shared |= {f"{place}.{name}": inner for name, inner in schema.pop("$defs", {}).items()}
    schema.pop("title", None)
    return schema
