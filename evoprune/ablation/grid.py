"""The variants of an ablation: every combination of the values that are varied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from evoprune.errors import InputError
from evoprune.spec import Experiment

_NOT_VARIED = {"seed": "--seeds", "budget": "--budget", "generations": "--budget"}
"""Keys that are the same for all variants, and what says them."""


@dataclass(frozen=True)
class Variant:
    """One combination: ``name`` for people, ``settings`` as ``--set`` takes them."""

    name: str
    settings: tuple[str, ...]


def variants(varied: Sequence[str]) -> list[Variant]:
    """All combinations of ``KEY=VALUE,VALUE,...``, the first value of each key first.

    A key that the experiment does not have at its top is the problem's (``score`` is
    ``problem.score``). Raises :class:`InputError`.
    """
    axes = [_axis(text) for text in varied]
    names = [key for key, _ in axes]
    if len(set(names)) < len(names):
        raise InputError("a key is varied twice; give its values in one --vary", "--vary")
    return [
        Variant(
            ", ".join(f"{_short(key)}={_plain(value)}" for key, value in combination),
            tuple(f"{key}={_plain(value)}" for key, value in combination),
        )
        for combination in product(*([(key, value) for value in values] for key, values in axes))
    ]


def _axis(text: str) -> tuple[str, list[Any]]:
    key, equals, listed = text.partition("=")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except yaml.YAMLError:
        values = None
    if not equals or not all(key.split(".")) or not isinstance(values, list) or len(values) < 2:
        raise InputError(
            "expected KEY=VALUE,VALUE,... with two values at least, as in operators.mate=blend,uniform",
            f"--vary {text}",
        )
    if len({_plain(value) for value in values}) < len(values):
        raise InputError("a value is given twice", f"--vary {text}")
    if key in _NOT_VARIED:
        raise InputError(f"all variants share it; give {_NOT_VARIED[key]} instead", f"--vary {text}")
    known = Experiment.model_fields
    return (key if key.split(".")[0] in known else f"problem.{key}"), values


def _short(key: str) -> str:
    return key.removeprefix("operators.").removeprefix("problem.").removesuffix(".use")


def _plain(value: Any) -> str:
    """``value`` as one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("\n").removesuffix("\n...")
