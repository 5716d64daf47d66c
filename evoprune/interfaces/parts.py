"""Optional parts of a problem: classes to inherit together with :class:`evoprune.Problem`.

A problem may also list classes in ``parts``: each inherits some parts, and its constructor gets the problem.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeVar

from evoprune.console.errors import InputError
from evoprune.interfaces.blocks import Block, Heatmap
from evoprune.interfaces.problem import Evaluation, Problem

Part = TypeVar("Part")


def part_class(problem: type[Problem], wanted: type[Part]) -> type[Part] | None:
    """Return the class of ``problem`` for the part ``wanted``: its own, or one in ``parts``; None for neither."""
    return next((one for one in (problem, *problem.parts) if issubclass(one, wanted)), None)


def needed(problem: type[Problem], wanted: type[Part], does: str, at: str) -> type[Part]:
    """As :func:`part_class`, but raise :class:`evoprune.InputError` of ``at`` for None."""
    if found := part_class(problem, wanted):
        return found
    raise InputError(f"the problem {problem.__name__} has nothing to {does}", at)


def part(problem: Problem, wanted: type[Part]) -> Part | None:
    """Return the part ``wanted`` of ``problem``: itself, or an object of a class in ``parts``; None for neither."""
    if isinstance(problem, wanted):
        return problem
    found: Any = part_class(type(problem), wanted)
    return found(problem) if found else None


class Finals(ABC):
    """Finals of a search with one objective: its best and known solutions are scored again; the winner is the result.

    >>> from evoprune import Finals
    >>> class OnOtherData(Finals):
    ...     contenders = {"uniform": [0.5, 0.5]}
    ...     judge = lambda self, genome: sum(genome)
    """

    @property
    @abstractmethod
    def contenders(self) -> Mapping[str, Sequence[float]]:
        """Known solutions by name: references that are allowed as results; without any there are no finals."""

    @abstractmethod
    def judge(self, genome: Sequence[float]) -> float:
        """Judge ``genome``, better in the direction of fitness; called in the workers."""


class Measured(ABC):
    """Measurements of the machine that a run needs, such as times: taken once, stored in its ``measured.json``.

    >>> from evoprune import Measured
    >>> class Timed(Measured):
    ...     take_measurements = lambda self: {"ms": 2.5}
    ...     use_measurements = lambda self, facts: setattr(self, "ms", facts["ms"])
    """

    @abstractmethod
    def take_measurements(self) -> Mapping[str, Any]:
        """Measure in the process that breeds, before anything is written: JSON-able, empty for nothing."""

    @abstractmethod
    def use_measurements(self, facts: Mapping[str, Any]) -> None:
        """Store the result of :meth:`take_measurements`, in each process, before the first use of genes and budget."""


@dataclass(frozen=True)
class Outcome:
    """A finished search. ``references``: genome and score of the known solutions, by name.

    ``title``: subject of the run, for figures. ``seconds_left``: for the report, if the run has a limit of time.
    ``drafted``: seconds that the last draft of the export took.
    """

    best: list[Any]
    best_evaluation: Evaluation
    references: Mapping[str, tuple[list[float], Evaluation]]
    title: str = ""
    seconds_left: float | None = None
    drafted: float = 0.0


class Shown(NamedTuple):
    """Parts of a page, see :mod:`evoprune.report.page`: the result in a table with others, and maps of it.

    ``results``: cells that compare the result with other runs, by label with unit.
    """

    comparison: Sequence[Block] = ()
    maps: Sequence[Heatmap] = ()
    results: Mapping[str, str] = MappingProxyType({})


class Reporting(ABC):
    """Facts and figures about the result, beyond its fitness.

    >>> from evoprune import Reporting
    >>> class Weighed(Reporting):
    ...     words = {"weight": "weight, in kg"}
    ...     report = lambda self, outcome, folder: {"weight": sum(outcome.best)}
    """

    words: ClassVar[Mapping[str, str]] = {}
    """Display labels of result keys, with units."""

    shares: ClassVar[frozenset[str]] = frozenset()
    """Keys of the result, its tables, rows or columns whose numbers pages show in percent."""

    explained: ClassVar[Mapping[str, str]] = {}
    """Sentences that explain keys of the result, shown next to the number."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Installed packages that scores depend on; pages show their versions."""

    @abstractmethod
    def report(self, outcome: Outcome, folder: Path) -> Mapping[str, Any]:
        """Draw figures into ``folder``; return keys for ``result.json``, as the problem's ``Result`` has them."""

    def work(self) -> float:
        """Return the estimated work of :meth:`report` and finals, in the problem's ``work_unit``; for forecasts."""
        return 0.0

    @classmethod
    def settled(cls, settings: Mapping[str, Any], result: Any) -> Mapping[str, Any]:
        """Return the problem's ``settings`` that repeat ``result`` without a limit of time."""
        return settings

    def delete_checkpoints(self, folder: Path) -> None:  # noqa: B027 - most have none
        """Delete the files in ``folder`` that only an interrupted :meth:`report` needs; a kill may interrupt this."""

    @classmethod
    def about(cls, settings: Any) -> str:
        """Return the subject of a run for titles, in a few words: a model and a text, say."""
        return ""

    @classmethod
    def drawn_references(cls) -> Collection[str]:
        """Return the names of references that figures of a search show as lines."""
        return ()

    @classmethod
    def summary(cls, result: Any) -> Sequence[str]:
        """Return lines about ``result`` for a person, the verdict first."""
        return []

    @classmethod
    def shown(cls, result: Any, facts: Mapping[str, Any] | None) -> Shown:
        """Return the parts of a page about ``result``; ``facts``: the ``evoprune.json`` of an export, if any."""
        return Shown()


def reporting(problem: type[Problem]) -> type[Reporting]:
    """Return the class of ``problem`` that reports; :class:`Reporting`, with its defaults, if there is none."""
    return part_class(problem, Reporting) or Reporting


def titles(problem: type[Problem], settings: Any, seed: int) -> tuple[str, Collection[str]]:
    """Return the subject of a run of ``problem``, and the references to draw in figures of the search."""
    reports = reporting(problem)
    return ", ".join(filter(None, [reports.about(settings), f"seed {seed}"])), reports.drawn_references()
