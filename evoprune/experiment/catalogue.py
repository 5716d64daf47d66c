"""What is installed: operators and problems, each with the parameters that a user gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from evoprune.experiment import parameters, registry
from evoprune.experiment.resolve import ALWAYS_SUPPLIED


@dataclass(frozen=True)
class Entry:
    """An operator or a problem by its registered name."""

    name: str
    plugin: Callable[..., Any]
    schema: type[BaseModel]
    """Of its parameters."""
    keys: dict[str, FieldInfo]
    """The parameters that a user gives; the engine and problems supply the others."""

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.plugin) or "").split("\n", 1)[0]


def operators(slot: str) -> Iterator[Entry]:
    """The operators that are registered for ``slot``."""
    supplied = ALWAYS_SUPPLIED | _supplied_by_problems()
    for name in sorted(registry.operators(slot)):
        function = registry.operator(slot, name)
        yield _entry(name, function, parameters.schema(function, slot, supplied), supplied)


def problems() -> Iterator[Entry]:
    """The registered problems."""
    for name in sorted(registry.names(registry.PROBLEMS)):
        problem = registry.problem(name)
        yield _entry(name, problem, problem.Settings, frozenset())


def plain_default(field: FieldInfo) -> Any:
    """The default of ``field`` as YAML would hold it; only what differs from a nested model's own defaults."""
    default = field.default
    return default.model_dump(mode="json", exclude_defaults=True) if isinstance(default, BaseModel) else default


def _supplied_by_problems() -> frozenset[str]:
    found = (registry.problem(name) for name in registry.names(registry.PROBLEMS))
    return frozenset().union(*(problem.supplies for problem in found))


def _entry(name: str, plugin: Callable[..., Any], schema: type[BaseModel], hidden: frozenset[str]) -> Entry:
    return Entry(name, plugin, schema, {key: field for key, field in schema.model_fields.items() if key not in hidden})
