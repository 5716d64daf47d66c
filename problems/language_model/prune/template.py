"""Experiments of the command ``prune``: YAML files with slots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

_FOLDER = Path(__file__).with_name("templates")
_GONE = object()
_LEAST = "least_trained"  # key that is no setting of an experiment


def filled(name: str, slots: Mapping[str, Any]) -> Json:
    """Return the template ``name`` over ``common.yaml``, with ``slots`` in place of their names.

    A key whose value is None goes, and a mapping whose ``if`` is none or false.
    """
    made: Json = _filled(_over(_read("common"), _read(name)), slots)
    del made[_LEAST]
    return made


def least_trained(name: str) -> float:
    """Return the tokens of training below which the template ``name`` goes without."""
    return float(_over(_read("common"), _read(name))[_LEAST])


def _read(name: str) -> Any:
    return yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))


def _over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _over(below.get(key), value) for key, value in above.items()}


def _filled(value: Any, slots: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("$"):
        found = slots.get(value[1:])
        return _GONE if found is None else found
    if isinstance(value, list):
        return [each for each in (_filled(each, slots) for each in value) if each is not _GONE]
    if not isinstance(value, dict):
        return _GONE if value is None else value
    every = {key: _filled(each, slots) for key, each in value.items()}
    made = {key: each for key, each in every.items() if each is not _GONE}
    return made if "if" not in value or made.pop("if", None) else _GONE
