"""Commands that make a whole experiment of a few words; registered under the entry points ``evoprune.commands``."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Plan:
    """Decision of a command.

    ``experiment``: what its YAML file would hold. ``name``: what a run's folder is called after. ``remarks``: lines for
    a person: what was chosen, and why. ``export``: options of the export, as the problem's.
    """

    experiment: Mapping[str, Any]
    name: str
    remarks: Sequence[str] = ()
    export: Mapping[str, Any] = field(default_factory=dict)


class Planner(ABC):
    """A command. The engine runs what it plans, reports on it and exports it, and adds the options for that.

    Among them is ``out``, the path to export to, or None.
    """

    help: ClassVar[str]
    """A line for the list of commands."""

    example: ClassVar[str]

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments. Called whenever the command line is read: it must import nothing heavy."""

    @classmethod
    @abstractmethod
    def plan(cls, options: argparse.Namespace) -> Plan:
        """Decide on the experiment; may load and measure. Raises :class:`evoprune.InputError`."""
