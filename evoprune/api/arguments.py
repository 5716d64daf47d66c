"""An experiment from the arguments of a call: the section of its problem, its operators, and the modules it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from sys import modules
from typing import Any

from evoprune.api.function import FUNCTION, GeneSettings
from evoprune.backends import evaluation, executor
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError, as_tuple, blamed_on, cut_repr
from evoprune.experiment import config, registry
from evoprune.experiment.resolve import Resolved, resolve
from evoprune.interfaces.genes import Genes
from evoprune.interfaces.problem import Problem, Settings
from evoprune.interfaces.space import Space

Operator = str | Callable[..., Any] | Mapping[str, Any]
"""A name or a function, or ``{"use": either, ...}`` with parameters, as in an experiment's YAML."""

Operators = Mapping[str, Operator]
"""Operators by slot."""

_OF_PROBLEMS = "a Problem has constraints, signs, noise, batches and first genomes of its own"


def resolve_search(
    problem: Mapping[str, Any], algorithm: Operator, operators: Operators | None, population: int | None,
    plugins: Sequence[str] = (), **keys: Any,
) -> Resolved:  # fmt: skip
    """Return the checked experiment that searches ``problem``, with more ``keys``."""
    keys |= {"population": population} if population is not None else {}
    if not isinstance(operators, Mapping | None):
        raise InputError(f"expected a mapping of slots to operators, got {cut_repr(operators)}", "operators")
    chosen, modules = {}, [*plugins]
    for slot, operator in {"algorithm": algorithm, **(operators or {})}.items():
        given = dict(operator) if isinstance(operator, Mapping) else {"use": operator}
        if callable(function := given.get("use")):
            name, module = _named(function)
            if module is None:
                name = f"{name} {slot}"
                registry.local_functions[name] = function
            else:
                modules.append(module)
            given["use"] = name
        chosen[slot] = given
    keys["plugins"] = [*dict.fromkeys(modules)]
    return resolve(config.plain({"problem": problem, "operators": chosen, **keys}, "minimize"), "minimize")


def problem_section(
    f: Any, space: Any, constraints: Sequence[Any], execution: Execution, more: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The ``problem`` section of an experiment that searches ``f``, with ``more`` settings, and its plugins."""
    given = executor.given.get(execution.map or "")
    alone = given or (not execution.places[1:] and execution.map in (None, "serial"))
    named = [_named(type(f) if isinstance(f, Problem) else f), *map(_named, constraints)]
    for name, module in named:
        if module is None and (isinstance(f, Problem) or not alone):
            raise InputError(f"other processes cannot import {name}; define it at the top of a module", "workers")
    plugins = list(dict.fromkeys(module for _, module in named if module is not None))
    if isinstance(f, Problem):
        if constraints or any(more.get(key) for key in ("maximise", "batch", "noisy", "initial")):
            raise InputError(_OF_PROBLEMS, "minimize")
        if not isinstance(f.settings, Settings):
            raise InputError(f"expected settings that are Settings, got {cut_repr(f.settings)}", named[0][0])
        return {"use": named[0][0], **f.settings.model_dump(mode="json")}, plugins
    calls = [name if module is not None else f"{name} {place}" for place, (name, module) in enumerate(named)]
    evaluation.this_worker.forget()  # it may know another function of the same name
    every = zip(calls, (f, *constraints), named, strict=True)
    registry.local_functions.update({call: function for call, function, (_, module) in every if module is None})
    section = function_section(calls, space, more)
    if given:
        given.carry(section, dict(zip(calls, (f, *constraints), strict=True)))
    return section, [*plugins, *modules_of(section)]


def _named(f: Any) -> tuple[str, str | None]:
    """``module:name`` of ``f``, and its module; None for a function that cannot be imported."""
    module, name = getattr(f, "__module__", ""), getattr(f, "__qualname__", type(f).__qualname__)
    try:
        importable = attrgetter(name)(modules[module]) is f and "." not in name
    except (AttributeError, KeyError):
        importable = False
    return f"{module}:{name}", module if importable else None


def function_section(calls: Sequence[str], space: Space, more: Mapping[str, Any]) -> dict[str, Any]:
    """The ``problem`` section for the first of ``calls``, with the others as its constraints."""
    call, *constraints = calls
    chosen = section_of(space)
    genomes = {"genes": chosen["genes"]} if isinstance(space, Genes) else {"space": chosen}
    return {"use": FUNCTION, "call": call, **genomes, "constraints": constraints, **more}


def section_of(space: Space) -> dict[str, Any]:
    """Return ``space`` as an experiment names it."""
    if isinstance(space, Genes):
        return {"use": space.name, "genes": [GeneSettings.describe(gene) for gene in space]}
    known = registry.names(registry.SPACES).get(space.name)
    name = space.name if known and known.load() is type(space) else _named(type(space))[0]
    settings = {key: section_of(one) if isinstance(one, Space) else one for key, one in space.settings.items()}
    return {"use": name, **settings}


def modules_of(section: Mapping[str, Any]) -> list[str]:
    """Return the modules of functions and classes that the space in ``section``, of a problem, names."""
    modules: list[str] = []

    def visit(value: Any) -> None:
        if isinstance(value, Mapping):
            visit([value.get("use"), *value.get("primitives", ())])
            visit([part for part in value.values() if isinstance(part, Mapping)])
        elif isinstance(value, list):
            for each in value:
                visit(each)
        elif isinstance(value, str) and ":" in value and value not in registry.local_functions:
            modules.append(value.partition(":")[0])

    visit(section.get("space"))
    return modules


def listed(points: Sequence[Any], space: Space, argument: str = "initial") -> list[Any]:
    """Return ``points`` of genes as lists, of other spaces as they are in JSON.

    ``argument``: name of the caller's argument, for errors.
    """
    if not isinstance(space, Genes):
        points = as_tuple(points, argument)
        with blamed_on(argument):
            for point in points:
                space.encoded(point)  # raises an error for what the space lacks
        return [*map(space.to_json, points)]
    names = space.names
    genomes = []
    for point in as_tuple(points, argument):
        if isinstance(point, Mapping) and not point.keys() <= {*names}:
            raise InputError(f"expected a value for each of {', '.join(names)}, got {cut_repr(point)}", argument)
        try:
            genomes.append([*map(point.get, names)] if isinstance(point, Mapping) else list(point))
            hash(tuple(genomes[-1]))
        except TypeError:
            raise InputError(f"expected a list of values, or a mapping, got {cut_repr(point)}", argument) from None
    return genomes
