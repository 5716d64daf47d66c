"""The JSON Schema of an experiment's YAML file, made of the same pydantic models that check it, for editors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from evoprune.experiment import catalogue, parameters
from evoprune.experiment.spec import Choice, Experiment

Json = dict[str, Any]


def json_schema() -> Json:
    """The schema: an editor that has it completes keys and names of plugins, explains them, and marks typing errors.

    Plugins of problems, such as transforms, are imported for it. Relations between keys, and plugins that are named as
    ``module:attribute``, are left to ``evoprune validate``.
    """
    shared: Json = {}
    whole = _of(Experiment, "experiment", shared)
    whole["properties"]["problem"] = _chosen(catalogue.problems(), "problem", shared)
    slots = {slot: _chosen(catalogue.operators(slot), slot, shared) for slot in parameters.DATA_ARGUMENTS}
    slots["repair"] = {"anyOf": [slots["repair"], {"type": "null"}]}
    described = shared["experiment.Operators"]["properties"]
    for slot, chosen in slots.items():
        described[slot] = {"description": described[slot].get("description", "")} | chosen
    return {
        "$schema": "http://json-schema.org/draft-07/schema#", "title": "An experiment of evoprune", **whole,
        "$defs": shared,
    }  # fmt: skip


def _chosen(entries: Iterable[catalogue.Entry], place: str, shared: Json) -> Json:
    """A plugin's name, or a mapping with its name under ``use`` and the parameters of that plugin."""
    schemas, about = {}, {}
    for entry in entries:
        schemas[entry.name], about[entry.name] = _parameters(entry, f"{place}.{entry.name}", shared), entry.summary
    names = {"anyOf": [{"enum": list(schemas)}, {"type": "string", "pattern": ":"}]}
    cases = []
    for name, schema in schemas.items():
        use = {"const": name, "description": about.get(name, "")}
        then = schema | {"properties": {"use": use} | schema.get("properties", {})}
        cases.append({"if": {"properties": {"use": {"const": name}}, "required": ["use"]}, "then": then})
    mapping = {"type": "object", "properties": {"use": names}, "required": ["use"], "allOf": cases}
    return {"if": {"type": "string"}, "then": names, "else": mapping}


def _parameters(entry: catalogue.Entry, place: str, shared: Json) -> Json:
    """The schema of the parameters of ``entry``, in which each key that names plugins says which, and their keys."""
    schema = _of(entry.schema, place, shared)
    for key, plugins in entry.chosen.items():
        shared[f"{place}.{key}"] = _chosen(plugins, f"{place}.{key}", shared)
        any_plugin, these = (f'"#/$defs/{place}.{name}"' for name in (Choice.__name__, key))
        schema["properties"][key] = json.loads(json.dumps(schema["properties"][key]).replace(any_plugin, these))
    return schema


class _Lenient(GenerateJsonSchema):
    """Objects that the engine supplies to operators have no form in JSON: anything."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Json:  # noqa: ARG002
        return {}


def _of(model: type[BaseModel], place: str, shared: Json) -> Json:
    """The schema of ``model``; those of the models in it go to ``shared``, under names that begin with ``place``."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{place}.{{model}}", schema_generator=_Lenient)
    shared |= {f"{place}.{name}": inner for name, inner in schema.pop("$defs", {}).items()}
    schema.pop("title", None)
    return schema
