"""The variants of an ablation: every combination of the values that are varied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import yaml

from evoprune.errors import InputError
from evoprune.experiment.spec import Experiment


@dataclass(frozen=True)
class Variant:
    """One combination: ``name`` for people, ``settings`` as ``--set`` takes them."""

    name: str
    settings: tuple[str, ...]


def variants(varied: Sequence[str], shared: Mapping[str, str] = MappingProxyType({})) -> list[Variant]:
    """All combinations of ``KEY=VALUE,VALUE,...``, the first value of each key first.

    A key that the experiment lacks at its top is the problem's. ``shared``: keys that all variants share, to their
    options.
    """
    axes = [_axis(text, shared) for text in varied]
    names = [key for key, _ in axes]
    if len(set(names)) < len(names):
        raise InputError("a key is varied twice; give its values in one --vary", "--vary")
    named = [zip(_names(key, values), values, strict=True) for key, values in axes]
    return [
        Variant(
            ", ".join(name for name, _ in combination),
            tuple(f"{key}={_plain(value)}" for key, (_, value) in zip(names, combination, strict=True)),
        )
        for combination in product(*named)
    ]


def _axis(text: str, shared: Mapping[str, str]) -> tuple[str, list[Any]]:
    name, equals, listed = text.partition("=")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except Exception:  # PyYAML raises other exceptions too, see config.read
        values = None
    if not equals or not all(name.split(".")) or not isinstance(values, list) or len(values) < 2:
        raise InputError(
            "expected KEY=VALUE,VALUE,... with two values at least, as in operators.mate=blend,uniform",
            f"--vary {text}",
        )
    if name in shared:
        raise InputError(f"all variants share it; give {shared[name]} instead", f"--vary {text}")
    key = name if name.split(".")[0] in Experiment.model_fields else f"problem.{name}"
    if len(set(_names(key, values))) < len(values):
        raise InputError("a value is given twice", f"--vary {text}")
    return key, values


def _names(key: str, values: Sequence[Any]) -> list[str]:
    """A name for each of ``values``: the settings in which they differ."""
    held = [_parts(key, value) for value in values]
    shared = set.intersection(*(set(parts.items()) for parts in held))
    return [
        ", ".join(f"{_short(part)}={text}" for part, text in parts.items() if (part, text) not in shared)
        or f"{_short(key)}={_plain(value)}"
        for parts, value in zip(held, values, strict=True)
    ]


def _parts(key: str, value: Any) -> dict[str, str]:
    """``value`` as one setting, or as one for each thing it holds."""
    if not isinstance(value, dict) or not value:
        return {key: _plain(value)}
    return {part: text for name, inner in value.items() for part, text in _parts(f"{key}.{name}", inner).items()}


def _short(key: str) -> str:
    return key.removeprefix("operators.").removeprefix("problem.").removesuffix(".use")


def _plain(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("\n").removesuffix("\n...")
