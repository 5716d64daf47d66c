"""Commands of plugins, registered under the entry points ``evoprune.commands``; some plan a whole experiment."""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from evoprune.interfaces.problem import Problem


class _Named(ABC):
    """A command; its docstring is the description, ``help`` a line for the list of commands."""

    help: ClassVar[str]
    example: ClassVar[str]

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments. Called for each command line: it must import nothing heavy."""


class Command(_Named):
    """A command that the plugin carries out.

    >>> from evoprune.plugins import Command
    >>> class Count(Command):
    ...     "Count the words of a file."
    ...     help, example = "count words", "python -m evoprune count a.txt"
    ...     add_arguments = lambda parser: parser.add_argument("file")
    ...     call = lambda options: print(len(open(options.file).read().split()))
    """

    @classmethod
    @abstractmethod
    def call(cls, options: argparse.Namespace) -> int | None:
        """Carry it out; return its exit code, None for 0. Raises :class:`evoprune.InputError`."""


@dataclass(frozen=True)
class Plan:
    """Decision of a command: the experiment, remarks, and options of the export.

    ``seconds``: until the export is to begin; None for no limit. ``searching``: seconds of the search, which ends with
    the first generation after it; None for ``seconds``. ``room``: least bytes that the export needs on disk.

    >>> from evoprune import Plan
    >>> Plan({"problem": {"use": "benchmark", "function": "sphere"}}, seconds=60.0).remarks
    ()
    """

    experiment: Mapping[str, Any]
    remarks: Sequence[str] = ()
    export: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    searching: float | None = None
    room: float = 0.0


class Planner(_Named):
    """A command that plans an experiment; an object is one call. The engine runs, reports and exports the plan.

    >>> from evoprune import Plan, Planner
    >>> class Sphere(Planner):
    ...     "Minimise the sphere."
    ...     name, problem = "sphere", None
    ...     add_arguments = classmethod(lambda cls, parser: None)
    ...     plan = lambda self: Plan({"problem": {"use": "benchmark", "function": "sphere"}})
    """

    name: str | None
    """Stem of the run's name; None if :meth:`plan` says all and nothing is run."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Keep ``options``, the engine's (``out``, ``devices``) included.

        A subclass refuses wrong options and files here, within about two seconds, before anything is loaded. It may
        decide on another ``out``. Raises :class:`evoprune.InputError`.
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
