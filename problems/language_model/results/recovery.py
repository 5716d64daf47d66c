"""The interface of recoveries, which train the result of a run towards its dense model. Imports no torch.

A recovery is a plugin, ``evoprune.recoveries``: ``settings`` is a subclass of :class:`RecoverySettings`, the keys of
``recover`` in an experiment, and ``training`` one of :class:`Recovery`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from evoprune import Settings
from evoprune.plugins import Outcome, find_plugin, plugin_names
from evoprune.problems.language_model.models.wings import WINGS
from evoprune.problems.language_model.results.result import RecoveredRow

RECOVERIES = "evoprune.recoveries"  # the group of entry points
CHECKPOINT = "step-"  # prefix of checkpoint files
TRAINING_COST = 6.0  # of a trained token, in scored ones
COMPENSATION_TOKENS = 8192  # of the Gram matrices that compensate rounding errors
DURATION = r"^\d{1,9}(\.\d+)?[smh]$"  # as in 90s, 20m or 2h


def seconds_of(duration: str) -> float:
    """Return the seconds of a :data:`DURATION`."""
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


class RecoverySettings(Settings):
    """Base of the keys of ``recover``."""

    @property
    def text_fault(self) -> str | None:
        """The fault of the text to train on, if any."""
        return None

    def alone(self) -> Self:
        """Return the settings that train the result, and no baselines."""
        return self

    @classmethod
    def settled(cls, keys: Mapping[str, Any], row: RecoveredRow | None) -> Mapping[str, Any] | None:  # noqa: ARG003
        """Return the ``keys`` that repeat the training of ``row`` without a limit of time; None for no training."""
        return keys


class Recovery(ABC):
    """Training of the result of a run by the settings ``asked``; ``baselines``: genomes to train alike, by name."""

    @abstractmethod
    def __init__(self, session: Any, asked: Any, baselines: Mapping[str, Sequence[float]]) -> None: ...

    @property
    @abstractmethod
    def text(self) -> Any:
        """The text to train on: its ``whole`` has the windows."""

    @abstractmethod
    def check(self) -> None:
        """Raise :class:`evoprune.InputError` for settings or a text that cannot be used, before the search."""

    @abstractmethod
    def in_run(
        self, outcome: Outcome, result: dict[str, Any], folder: Path, reporting: float, scored: float
    ) -> dict[str, Any]:
        """Add the recovery to ``result``, and write weights that are better to the run's ``folder``.

        ``reporting``: seconds of the report, which ``scored`` so many tokens.
        """

    @abstractmethod
    def delete_checkpoints(self, folder: Path) -> None:
        """Delete the checkpoints in the ``folder`` of a run that has a result."""


def has_checkpoints(folder: Path) -> bool:
    """Tell whether a training in ``folder``, or below it, wrote a checkpoint."""
    return any(folder.rglob(f"{CHECKPOINT}*"))


class _Missing(RecoverySettings, extra="allow"):
    """The keys of ``recover`` without a plugin: all are refused."""

    @model_validator(mode="after")
    def _refused(self) -> Self:
        raise ValueError(f"needs the wing {WINGS['recover']}")


def recovery_settings() -> type[RecoverySettings]:
    """Return the class of the keys of ``recover``."""
    found: type[RecoverySettings] = (
        find_plugin(RECOVERIES, "settings") if "settings" in plugin_names(RECOVERIES) else _Missing
    )
    return found
