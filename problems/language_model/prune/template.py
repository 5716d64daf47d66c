"""Experiments of the command ``prune``: YAML files with slots."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

_FOLDER = Path(__file__).with_name("templates")
_GONE = object()


def filled(name: str, limit: Any, slots: Mapping[str, Any]) -> Json:
    """Return the template ``name`` over ``common.yaml``, with ``slots`` in place of their names, and the ``limit``.

    ``$slot * 2`` is a product, in two digits. A key without a value goes, and so does a mapping whose ``if`` is false;
    one with ``then`` or ``else`` is replaced by it.
    """
    whole = {**slots, "limit": _filled(limit, slots)}
    experiment: Json = _filled(_over(content("common"), content(name)), whole)
    return experiment


@cache
def content(name: str) -> Any:
    """Return the content of the template ``name``, which must not be changed."""
    return yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))


def _over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _over(below.get(key), value) for key, value in above.items()}


def _filled(value: Any, slots: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("$"):
        name, _, factor = value[1:].partition(" * ")
        slot = slots.get(name)
        return _GONE if slot is None else float(f"{slot * float(factor):.1e}") if factor else slot
    if isinstance(value, list):
        return [item for item in (_filled(each, slots) for each in value) if item is not _GONE]
    if not isinstance(value, dict):
        return _GONE if value is None else value
    applies = "if" not in value or _filled(value["if"], slots) not in (_GONE, False, [])
    if "then" in value or "else" in value:
        return _filled(value.get("then" if applies else "else"), slots)
    items = {key: _filled(each, slots) for key, each in value.items() if key != "if"} if applies else {}
    return {key: item for key, item in items.items() if item is not _GONE} if applies else _GONE
