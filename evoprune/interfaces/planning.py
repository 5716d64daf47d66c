"""Commands that make a whole experiment of a few words; registered under the entry points ``evoprune.commands``."""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Plan:
    """Decision of a command: the experiment, the stem of the run's name, remarks, and options of the export.

    ``seconds``: from now on until the export is to begin; None for no limit. A problem is told how many are left when
    it reports (:class:`evoprune.interfaces.parts.Outcome`). ``searching``: as many of these for the search, which
    ends with the first generation after them; None for all.
    """

    experiment: Mapping[str, Any]
    name: str
    remarks: Sequence[str] = ()
    export: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    searching: float | None = None


class Planner(ABC):
    """A command. The engine adds options, ``out`` among them, runs the plan, reports on it and exports it."""

    help: ClassVar[str]
    """A line for the list of commands."""

    example: ClassVar[str]

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments. Called for each command line: it must import nothing heavy."""

    @classmethod
    @abstractmethod
    def plan(cls, options: argparse.Namespace) -> Plan | None:
        """Decide on the experiment; may load and measure. None if all is said. Raises :class:`evoprune.InputError`."""
