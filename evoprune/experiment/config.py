"""Reads and writes an experiment's YAML, and applies ``--set``. Checking is :mod:`evoprune.experiment.resolve`'s."""

import json
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy
import yaml

from evoprune.console.errors import InputError, as_tuple, cut_repr, nearest
from evoprune.experiment.registry import HOME
from evoprune.files.json_files import read_text

Config = dict[str, Any]
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's is four times as fast


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # <<: *anchor
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in seen:
                twice = isinstance(key, str)
                fault = f"key '{key}' is given twice" if twice else f"expected a name as key, got {cut_repr(key)}"
                raise yaml.constructor.ConstructorError(None, None, fault, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def find(path: str) -> Path:
    """Return the experiment ``path``; as :func:`find_file`."""
    near = nearest(Path(path).stem, sorted(file.stem for file in (HOME / "problems").glob("*.yaml")))
    guess = f"did you mean problems/{near}.yaml? S" if near else "s"
    return find_file(path, f", here or among the problems that come with evoprune; {guess}ee 'evoprune ls'")


def find_file(path: str, hint: str = "") -> Path:
    """Return the file ``path``, relative to the working directory or to evoprune. Raises :class:`InputError`."""
    try:
        for candidate in (Path(path), HOME / path):
            if candidate.is_file():
                return candidate
    except OSError as error:  # for example, a name that is too long
        raise InputError(f"cannot be read: {error.strerror}", path) from None
    raise InputError(f"no such file{hint}", path)


def missing_files(**paths: str) -> list[str]:
    """Return a line for each of ``paths`` that :func:`find_file` does not find; by their keys in ``problem``."""
    faults = []
    for key, path in paths.items():
        try:
            find_file(path)
        except InputError as error:
            faults.append(f"problem.{key}: {error}")
    return faults


def read(path: Path) -> Config:
    """Return the mapping in the YAML file ``path``. Raises :class:`InputError` with line and column."""
    try:
        value = yaml.load(read_text(path), _Loader)
    except InputError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"not valid YAML{place}: {getattr(error, 'problem', error)}", str(path)) from None
    except Exception as error:  # PyYAML raises other exceptions too: ValueError for 2001-99-99
        raise InputError(f"cannot be read: {error}", str(path)) from None
    if not isinstance(value, dict):
        got = "nothing" if value is None else f"a {type(value).__name__}"
        raise InputError(f"expected a mapping with the keys 'problem', 'operators', ..., got {got}", str(path))
    return value


def plain(config: Mapping[str, Any], source: str, section: str = "") -> Config:
    """Return ``config`` with the types of YAML, such as ``int`` for numpy's. Raises :class:`InputError` for others.

    ``section``: path of ``config`` in a larger one.
    """
    values = {}
    for key, value in config.items():
        try:
            if isinstance(value, Mapping) and not section:
                values[key] = plain(value, source, f"{section}{key}.")
            else:
                values[key] = json.loads(json.dumps(value, default=_number, ensure_ascii=False).encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{section}{key}: holds what YAML does not: {error}", source) from None
    return values


def _number(value: Any) -> Any:
    if isinstance(value, numpy.generic):
        return value.item()
    raise TypeError(cut_repr(value))


def dumped(config: Mapping[str, Any]) -> str:
    """``config`` as YAML, its keys in their order."""
    return yaml.dump(dict(config), Dumper=_DUMPER, sort_keys=False, allow_unicode=True)


def override(config: Config, overrides: Iterable[str]) -> Config:
    """Apply ``key.path=value`` (a YAML value) and ``~key.path`` (delete) in order, in place.

    A new ``use`` in a section drops the section's other keys: they were the old plugin's.
    """
    for setting in as_tuple(overrides, "overrides"):
        if not isinstance(setting, str):
            raise InputError(f"expected KEY=VALUE, got {cut_repr(setting)}", "overrides")
        if setting.startswith("~"):
            _delete(config, setting[1:].split("."), setting)
            continue
        path, equals, text = setting.partition("=")
        if not equals or not all(path.split(".")):
            raise InputError("expected KEY=VALUE or ~KEY, with KEY as in operators.mate.alpha", f"--set {setting}")
        try:
            value = yaml.load(text, _Loader)
        except Exception:  # as above
            raise InputError(f"'{text}' is not a YAML value", f"--set {setting}") from None
        *parents, key = path.split(".")
        section = _section(config, parents, setting)
        if key == "use" and section.get("use") != value:
            section.clear()
        section[key] = value
    return config


def _section(config: Config, keys: list[str], setting: str) -> Config:
    """Return the mapping at ``keys``, created if missing; ``mate: blend`` becomes ``{use: blend}``."""
    for key in keys:
        value = config.setdefault(key, {})
        value = {"use": value} if isinstance(value, str) else {} if value is None else value
        if not isinstance(value, dict):
            raise InputError(f"'{key}' holds {cut_repr(value)}, which has no keys", f"--set {setting}")
        config[key] = config = dict(value)  # an alias in YAML is the same mapping at several places
    return config


def _delete(config: Any, keys: list[str], setting: str) -> None:
    *parents, last = keys
    for key in parents:
        value = config.get(key) if isinstance(config, dict) else None
        if isinstance(value, dict):
            value = config[key] = dict(value)  # as above
        config = value
    if not isinstance(config, dict) or last not in config:
        raise InputError("there is no such key to delete", f"--set {setting}")
    del config[last]
