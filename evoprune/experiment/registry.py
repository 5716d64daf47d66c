"""Finds problems and operators by name.

A registered name is an entry point in the group ``evoprune.problems`` (``benchmark``) or
``evoprune.operators`` (``mate.blend``: the slot, then the name). Ours are declared in
setup.cfg as those of other packages are in theirs. ``module:attribute`` works wherever a
name does, for ``deap.tools`` and for the modules in the experiment's ``plugins`` (``allowed``
below). Problems may have groups of their own, found by :func:`find_plugin`.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from evoprune.errors import InputError, did_you_mean
from evoprune.experiment.modules import HOME, import_own_packages, plugin, plugins
from evoprune.interfaces.problem import Problem

PROBLEMS, OPERATORS = "evoprune.problems", "evoprune.operators"


@cache
def names(group: str) -> dict[str, EntryPoint]:
    """All entry points of ``group`` by name; those of a bare checkout come from its setup.cfg."""
    import_own_packages()
    found = {entry.name: entry for entry in entry_points(group=group)}
    parser = configparser.ConfigParser()
    if parser.read(HOME / "setup.cfg", encoding="utf-8") and parser.has_section("options.entry_points"):
        for line in parser.get("options.entry_points", group, fallback="").strip().splitlines():
            name, _, value = (part.strip() for part in line.partition("="))
            found[name] = EntryPoint(name, value, group)
    return found


def problem(name: str, allowed: Sequence[str] = ()) -> type[Problem]:
    """The problem class called ``name``. Raises :class:`InputError` if there is none."""
    found = _find(PROBLEMS, name, names(PROBLEMS), allowed)
    if not (isinstance(found, type) and issubclass(found, Problem)):
        raise InputError(f"'{name}' is not a subclass of evoprune.Problem")
    return found


def operator(slot: str, name: str, allowed: Sequence[str] = ()) -> Callable[..., Any]:
    """The operator called ``name`` for ``slot``. Raises :class:`InputError` if there is none."""
    found = _find(OPERATORS, name, operators(slot), allowed)
    if not callable(found):
        raise InputError(f"'{name}' is not a function")
    return found  # type: ignore[no-any-return]


def operators(slot: str) -> dict[str, EntryPoint]:
    """The registered operators for ``slot``, by their short name."""
    prefix = slot + "."
    return {n.removeprefix(prefix): e for n, e in names(OPERATORS).items() if n.startswith(prefix)}


def check_plugin(group: str, name: str) -> None:
    """Raise :class:`InputError` if nothing is called ``name`` in ``group``; what is registered is not imported."""
    if ":" in name:
        _attribute(name, sorted(plugins()))
    else:
        _check_known(group, name, names(group))


def find_plugin(group: str, name: str) -> Any:
    """What is called ``name`` in any ``group`` of entry points. Raises :class:`InputError` if nothing is.

    ``module:attribute`` is found in the modules that this process's experiments list.
    """
    return _find(group, name, names(group), sorted(plugins()))


def _find(group: str, name: str, known: dict[str, EntryPoint], allowed: Sequence[str]) -> Any:
    if ":" in name:
        return _attribute(name, allowed)
    _check_known(group, name, known)
    try:
        return known[name].load()
    except Exception as error:  # another package may raise anything
        raise InputError(f"cannot import '{name}' ({known[name].value}): {error}") from error


def _check_known(group: str, name: str, known: dict[str, EntryPoint]) -> None:
    if name not in known:
        raise InputError(f"unknown {group.removeprefix('evoprune.')[:-1]} '{name}'{did_you_mean(name, known)}")


def _attribute(dotted: str, allowed: Sequence[str]) -> Any:
    module_name, _, attribute = dotted.partition(":")
    if module_name not in {"deap.tools", *allowed}:
        raise InputError(
            f"'{dotted}' is not allowed: list '{module_name}' under plugins first (deap.tools needs no listing)"
        )
    module = plugins().get(module_name) or plugin(module_name)
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [n for n in vars(module) if not n.startswith("_")]
        near = did_you_mean(attribute, public).split(" (known")[0]
        raise InputError(f"module '{module_name}' has no '{attribute}'{near}") from None
