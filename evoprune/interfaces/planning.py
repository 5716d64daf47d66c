"""Commands of plugins, registered under the entry points ``evoprune.commands``; some plan a whole experiment."""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from evoprune.interfaces.problem import Problem


class _Named(ABC):
    """A command; its docstring is the description."""

    help: ClassVar[str]
    """A line for the list of commands."""

    example: ClassVar[str]

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments. Called for each command line: it must import nothing heavy."""


class Command(_Named):
    """A command that the plugin carries out."""

    @classmethod
    @abstractmethod
    def call(cls, options: argparse.Namespace) -> int | None:
        """Carry it out; return its exit code, None for 0. Raises :class:`evoprune.InputError`."""


@dataclass(frozen=True)
class Plan:
    """Decision of a command: the experiment, remarks, and options of the export.

    ``seconds``: from now on until the export is to begin; None for no limit. A problem is told how many are left when
    it reports (:class:`evoprune.interfaces.parts.Outcome`). ``searching``: as many of these for the search, which
    ends with the first generation after them; None for all. ``room``: bytes that the export needs on its disk, at
    least.
    """

    experiment: Mapping[str, Any]
    remarks: Sequence[str] = ()
    export: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    searching: float | None = None
    room: float = 0.0


class Planner(_Named):
    """A command, and with its options a call of it. The engine runs the plan, reports on it and exports it."""

    name: str | None
    """Stem of the run's name; None if all is said by :meth:`plan`, and nothing is run."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Keep ``options``, those of the engine (``out``, ``devices``) among them.

        A subclass refuses all mistakes here that options, headers of files and the file system tell: within about two
        seconds, and before anything is loaded. It may decide on another ``out``. Raises :class:`evoprune.InputError`.
        """
        self.options = options
        self.out: Path | None = options.out

    @property
    @abstractmethod
    def problem(self) -> type[Problem]:
        """The problem of the plan, by which devices and ``out`` are checked."""

    @abstractmethod
    def plan(self) -> Plan | None:
        """Decide on the experiment; may load and measure. None if all is said. Raises :class:`evoprune.InputError`."""
