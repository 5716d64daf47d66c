"""Optional members of a problem, in small classes with defaults; :class:`evoprune.Problem` inherits all of it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class Objectives:
    """Number, direction and names of the objectives: by default one, to be minimised."""

    signs: tuple[float, ...] = (-1.0,)
    """One number an objective: negative to minimise, positive to maximise."""

    @classmethod
    def signs_of(cls, settings: Any) -> tuple[float, ...]:
        """Return the ``signs``, where they depend on the settings."""
        return cls.signs

    @classmethod
    def labels_of(cls, settings: Any) -> tuple[str, ...]:
        """Return a name for each objective, for figures and pages."""
        others = range(2, 1 + len(cls.signs_of(settings)))
        return ("fitness", *(f"objective {number}" for number in others))


class Work:
    """Unit of costs, and cheaper evaluations."""

    work_unit: ClassVar[str] = "evaluations"
    """Plural of the unit of :attr:`Evaluation.work`."""

    has_fidelities: ClassVar[bool] = False
    """True if a fidelity below 1 makes ``evaluate`` cheaper; else all is scored at fidelity 1."""


class SettingsChecks:
    """Checks of settings before the problem is loaded: quick, and without heavy imports."""

    plugin_groups: ClassVar[Mapping[str, str]] = {}
    """Names of settings that hold names of plugins, to the group of entry points."""

    @classmethod
    def needs(cls, settings: Any) -> Mapping[str, str]:
        """Return the slots of operators that must be filled, each with the reason."""
        return {}

    @classmethod
    def unscored(cls, settings: Any) -> Sequence[str]:
        """Return the keys of ``settings`` that no score depends on: they may change when a run is continued."""
        return []

    @classmethod
    def missing(cls, settings: Any) -> Sequence[str]:
        """Return a line for each file that the settings name and this machine lacks."""
        return []


class Devices:
    """Accelerators of this host: a worker's replaces the setting ``device: auto``."""

    @classmethod
    def devices(cls) -> Sequence[str]:
        """Return the devices of ``--devices auto``."""
        return []

    @classmethod
    def has_device(cls, name: str) -> bool:
        """Return whether this host has the device ``name``, which a user gave."""
        return True
