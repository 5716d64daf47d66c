"""Imports evoprune's own packages of plugins and a user's modules, so that neither hides the other.

``operators`` and ``problems`` are common names. Ours are imported by their place, whatever else on Python's path is
called so; a user's module or folder of that name, listed under ``plugins``, is imported by its place under another.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from evoprune.errors import InputError

HOME = Path(__file__).resolve().parents[2]
"""The folder that holds ``evoprune``, ``operators`` and ``problems``: a checkout or site-packages."""

_OWN = ("operators", "problems")

_plugins: dict[str, ModuleType] = {}
"""The modules that this process's experiments list under ``plugins``, by the name that they have there."""


@cache
def import_own_packages() -> None:
    """Import ``operators`` and ``problems`` from :data:`HOME`.

    Raises :class:`InputError` where other packages of these names were imported into this process before.
    """
    for name in _OWN:
        folder = HOME / name
        module = sys.modules.get(name) or _import_file(name, folder / "__init__.py")
        where = [Path(place).resolve() for place in getattr(module, "__path__", [])]
        if where != [folder]:
            raise InputError(
                f"another package '{name}' was imported before evoprune's own at {folder}: {module!r}; give that "
                "package another name"
            )


def plugin(name: str, folders: Sequence[str] = ()) -> ModuleType:
    """Import a user's module, from the first of ``folders`` that holds it, else from Python's path.

    A folder that holds it stays at the front of Python's path, for what the module itself imports.
    Raises :class:`InputError` where the module cannot be imported, with the reason.
    """
    import_own_packages()
    try:
        found = _importable(name, folders)
        if found or name not in _plugins:  # a run's folder does not record where it was found
            _plugins[name] = importlib.import_module(found or name)
    except Exception as error:
        raise InputError(f"cannot import '{name}': {type(error).__name__}: {error}") from error
    return _plugins[name]


def plugins() -> dict[str, ModuleType]:
    """The modules that :func:`plugin` imported in this process, by name."""
    return dict(_plugins)


def _importable(name: str, folders: Sequence[str]) -> str | None:
    """The name to import by what the first of ``folders`` that has it calls ``name``; None where none has it."""
    top, *inner = parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    for folder in map(Path, folders):
        place = folder.joinpath(*parts)
        if folder == HOME or not (place.is_dir() or place.with_suffix(".py").is_file()):
            continue
        if top in _OWN:
            return ".".join([_import_under_alias(top, folder), *inner])
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        return name
    return None


def _import_under_alias(top: str, folder: Path) -> str:
    """Import ``top``, a module or a package in ``folder``, under a name that is not ours; return that name."""
    alias = f"user_{top}"
    if alias in sys.modules:
        return alias
    package, module = folder / top / "__init__.py", folder / f"{top}.py"
    if package.is_file() or module.is_file():
        _import_file(alias, package if package.is_file() else module)
    else:  # a folder without __init__.py
        sys.modules[alias] = ModuleType(alias)
        sys.modules[alias].__path__ = [str(folder / top)]
    return alias


def _import_file(name: str, file: Path) -> ModuleType:
    inner = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=inner)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module at {file}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
