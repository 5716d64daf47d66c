"""The variants of an ablation: every combination of the values that are varied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

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
    axes = [_settings(text, shared) for text in varied]
    if len({axis[0].partition("=")[0] for axis in axes}) < len(axes):
        raise InputError("a key is varied twice; give its values in one --vary", "--vary")
    return [Variant(", ".join(map(_short, settings)), settings) for settings in product(*axes)]


def _settings(text: str, shared: Mapping[str, str]) -> list[str]:
    """A setting for each value of ``KEY=VALUE,VALUE,...``."""
    key, equals, listed = text.partition("=")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except Exception:  # PyYAML raises other exceptions too, see config.read
        values = None
    if not equals or not all(key.split(".")) or not isinstance(values, list) or len(values) < 2:
        raise InputError(
            "expected KEY=VALUE,VALUE,... with two values at least, as in operators.mate=blend,uniform",
            f"--vary {text}",
        )
    if key in shared:
        raise InputError(f"all variants share it; give {shared[key]} instead", f"--vary {text}")
    key = key if key.split(".")[0] in Experiment.model_fields else f"problem.{key}"
    settings = [f"{key}={_plain(value)}" for value in values]
    if len(set(settings)) < len(settings):
        raise InputError("a value is given twice", f"--vary {text}")
    return settings


def _short(setting: str) -> str:
    key, _, value = setting.partition("=")
    return f"{key.removeprefix('operators.').removeprefix('problem.').removesuffix('.use')}={value}"


def _plain(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("\n").removesuffix("\n...")
