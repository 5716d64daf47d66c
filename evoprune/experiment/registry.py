"""Finds problems, operators and other plugins by name, and imports a user's own modules.

A registered name is an entry point: ``benchmark`` in ``evoprune.problems``, ``mate.blend`` in ``evoprune.operators``.
``module:attribute`` works wherever a name does, for ``deap.tools``, ``deap.gp`` and the modules in an
experiment's ``plugins``.
"""

import configparser
import importlib
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from evoprune.console.errors import InputError, did_you_mean, nearest
from evoprune.interfaces.problem import Problem

HOME = Path(__file__).resolve().parents[1]
"""The package, with ``operators`` and ``problems``, which are links to neighbouring folders in a checkout."""

PROBLEMS, OPERATORS, SPACES = "evoprune.problems", "evoprune.operators", "evoprune.spaces"
_plugins: dict[str, ModuleType] = {}  # the modules that this process's experiments list under plugins

local_functions: dict[str, Callable[..., Any]] = {}
"""Functions of this process that cannot be imported, by the names that experiments give them."""


def plugin(name: str, folders: Sequence[str] = ()) -> ModuleType:
    """Import a user's module from the first of ``folders`` with it, else from Python's path."""
    parts = name.split(".")
    for folder in map(Path, folders):
        place = folder.joinpath(*parts)
        there = all(parts) and (place.is_dir() or place.with_suffix(".py").is_file())
        if there and folder != HOME.parent:
            _plugins.pop(name, None)  # else the imported one: a run's folder does not record its path
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
            break
    try:
        if name not in _plugins:
            _plugins[name] = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(f"cannot import '{name}': {type(error).__name__}: {error}") from error
    return _plugins[name]


@cache
def installed() -> dict[str, dict[str, EntryPoint]]:
    """All plugins by group and name; a checkout's own come from its setup.cfg alone, which may have changed."""
    there = entry_points()  # once, as it reads a file of each installed package
    parser = configparser.ConfigParser()
    parser.read(HOME.parent / "setup.cfg", encoding="utf-8")
    own = f"{HOME.name}." if parser.get("metadata", "name", fallback="") == HOME.name else " "
    plugins = {
        group: {entry.name: entry for entry in there.select(group=group) if not entry.value.startswith(own)}
        for group in there.groups
    }
    for group, lines in parser["options.entry_points"].items() if "options.entry_points" in parser else ():
        for line in lines.strip().splitlines():
            name, _, value = (part.strip() for part in line.partition("="))
            plugins.setdefault(group, {})[name] = EntryPoint(name, value, group)
    return {group: entries for group, entries in plugins.items() if group.startswith("evoprune.")}


def names(group: str) -> dict[str, EntryPoint]:
    """All entry points of ``group`` by name."""
    return installed().get(group, {})


def other_groups() -> list[str]:
    """The groups of plugins besides operators and problems, of ours and of other packages."""
    return sorted(group for group in installed() if group not in (PROBLEMS, SPACES) and not group.startswith(OPERATORS))


def problem(name: str, allowed: Sequence[str] = ()) -> type[Problem]:
    """Return the problem class called ``name``. ``allowed``: modules for ``module:attribute``."""
    problem_class = _find(PROBLEMS, name, names(PROBLEMS), allowed)
    if not (isinstance(problem_class, type) and issubclass(problem_class, Problem)):
        raise InputError(f"'{name}' is not a subclass of evoprune.Problem")
    return problem_class


def operator(slot: str, name: str, allowed: Sequence[str] = ()) -> Callable[..., Any]:
    """Return the operator called ``name`` for ``slot``."""
    function = _find(OPERATORS, name, operators(slot), allowed)
    if not callable(function):
        raise InputError(f"'{name}' is not a function")
    return function  # type: ignore[no-any-return]


def operators(slot: str) -> dict[str, EntryPoint]:
    """The registered operators for ``slot``, by their short name: for any space, and for each."""
    prefix = slot + "."
    groups = [group for group in installed() if group == OPERATORS or group.startswith(OPERATORS + ".")]
    return {n.removeprefix(prefix): e for group in groups for n, e in names(group).items() if n.startswith(prefix)}


def breeds(slot: str, name: str) -> list[str]:
    """The names of the spaces that a registered operator breeds; none if it breeds any."""
    prefix = OPERATORS + "."
    return sorted(g.removeprefix(prefix) for g in installed() if g.startswith(prefix) and f"{slot}.{name}" in names(g))


def default_choice(name: str, space: str) -> Any:
    """Return ``auto``, which chooses an algorithm for a problem, or ``defaults``, the operators by slot."""
    return (names(f"{OPERATORS}.{space}").get(name) or names(OPERATORS)[name]).load()


def check_plugin(group: str, name: str) -> None:
    """Raise :class:`InputError` if nothing is called ``name`` in ``group``; registered plugins are not imported."""
    if ":" in name:
        _attribute(name, [*_plugins])
    else:
        _check_known(group, name, names(group))


def find_plugin(group: str, name: str) -> Any:
    """Return the plugin called ``name`` in any ``group`` of entry points, or ``module:attribute``."""
    return _find(group, name, names(group), [*_plugins])


def _find(group: str, name: str, entries: dict[str, EntryPoint], allowed: Sequence[str]) -> Any:
    if name in local_functions:
        return local_functions[name]
    if ":" in name:
        return _attribute(name, allowed)
    _check_known(group, name, entries)
    try:
        return entries[name].load()
    except (Exception, SystemExit) as error:  # another package may raise anything
        raise InputError(f"cannot import '{name}' ({entries[name].value}): {error}") from error


def _check_known(group: str, name: str, entries: dict[str, EntryPoint]) -> None:
    if name not in entries:
        raise InputError(f"unknown {group.removeprefix('evoprune.')[:-1]} '{name}'{did_you_mean(name, entries)}")


def _attribute(dotted: str, allowed: Sequence[str]) -> Any:
    module_name, _, attribute = dotted.partition(":")
    if module_name not in {"deap.tools", "deap.gp", *allowed}:
        raise InputError(f"'{dotted}' is not allowed: list '{module_name}' under plugins first")
    module = _plugins.get(module_name) or plugin(module_name)
    try:
        return getattr(module, attribute)
    except AttributeError:
        near = nearest(attribute, vars(module))
        guess = f"; did you mean '{near}'?" if near else ""
        if module_name == "__main__" and not near:
            guess = "; define it at the top of a module or script, not in a function or an if"
        raise InputError(f"module '{module_name}' has no '{attribute}'{guess}") from None
