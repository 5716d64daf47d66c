"""Optional parts of a problem, each a class to inherit beside :class:`evoprune.Problem`.

A problem may also list classes of its own in ``parts``: each inherits some parts, and is made from the problem.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from evoprune.errors import InputError
from evoprune.interfaces.problem import Evaluation, Problem

Part = TypeVar("Part")


def part_class(problem: type[Problem], kind: type[Part]) -> type[Part] | None:
    """Return the class that is the part ``kind`` of ``problem``: itself, or one of its ``parts``; None for neither."""
    return next((each for each in (problem, *problem.parts) if issubclass(each, kind)), None)


def needed(problem: type[Problem], kind: type[Part], does: str, at: str) -> type[Part]:
    """As :func:`part_class`. Raises :class:`evoprune.InputError` of ``at`` for a problem that has nothing to do."""
    if found := part_class(problem, kind):
        return found
    raise InputError(f"the problem {problem.__name__} has nothing to {does}", at)


def part(problem: Problem, kind: type[Part]) -> Part | None:
    """Return the part ``kind`` of ``problem``: itself, or a part made from it; None if it has none."""
    if isinstance(problem, kind):
        return problem
    found: Any = part_class(type(problem), kind)
    return found(problem) if found else None


class HeldOut(ABC):
    """Data that no search sees: early stopping (``patience``) asks what the best so far is worth there."""

    @abstractmethod
    def held_out_value(self, genome: Sequence[float]) -> float | None:
        """First objective of ``genome`` on held-out data, in the process that breeds, to be minimised; None without."""


class Finals(ABC):
    """A last judgement, for one objective, of the best that a search found and of known solutions: which is the result.

    It counts for no budget, as held-out data does not.
    """

    @property
    @abstractmethod
    def contenders(self) -> Mapping[str, Sequence[float]]:
        """Known solutions by name, references that are allowed as results; without any there is no judgement."""

    @abstractmethod
    def judge(self, genome: Sequence[float]) -> float:
        """Judge ``genome``, better in the direction of fitness; called where candidates are scored."""


class Measured(ABC):
    """Measurements of the machine that a run needs, such as times: made once, stored in its ``measured.json``."""

    @abstractmethod
    def take_measurements(self) -> Mapping[str, Any]:
        """Measure in the process that breeds, before anything is written: JSON-able, empty for nothing."""

    @abstractmethod
    def use_measurements(self, facts: Mapping[str, Any]) -> None:
        """Take the result of :meth:`take_measurements`, in each process, before genes and budget are asked for."""


class Together(ABC):
    """Scoring of several genomes at once, in less time or memory than one after the other."""

    @property
    @abstractmethod
    def together(self) -> bool:
        """True if the problem, as it is set up, is to be asked so: each worker for its share of a generation."""

    @abstractmethod
    def evaluate_together(self, genomes: Sequence[Sequence[float]], fidelity: float = 1.0) -> Sequence[Evaluation]:
        """Score each genome exactly as :meth:`Problem.evaluate` does; after an exception each is asked for alone."""


class TradeOffs(ABC):
    """Several objectives, and a say in which of the best compromises becomes the run's result."""

    @abstractmethod
    def choose(self, front: Sequence[tuple[float, ...]]) -> int:
        """Return the index in ``front``, values of non-dominated candidates, of the run's result."""


@dataclass(frozen=True)
class Outcome:
    """A finished search. ``references``: genome and score of the known solutions, by name.

    ``front``: genome and values of non-dominated candidates, if there are several objectives. ``title``: of figures.
    ``seconds_left``: for the report, if the run has a limit of time.
    """

    best: list[float]
    best_evaluation: Evaluation
    references: Mapping[str, tuple[list[float], Evaluation]]
    front: Sequence[tuple[list[float], tuple[float, ...]]] = ()
    title: str = ""
    """What the run is on, for titles of figures."""
    seconds_left: float | None = None


class Reporting(ABC):
    """Facts and figures about the result, beyond its fitness."""

    words: ClassVar[Mapping[str, str]] = {}
    """What pages call what :meth:`report` adds to the result, by key, with the units."""

    shares: ClassVar[frozenset[str]] = frozenset()
    """Keys of the result, of its tables, rows or columns, whose numbers are shares: pages show percentages.

    Include ``genes`` if the genes themselves are shares.
    """

    explained: ClassVar[Mapping[str, str]] = {}
    """What keys of the result mean, in a sentence each: pages show it where the number stands."""

    first: ClassVar[tuple[str, ...]] = ()
    """Keys of the result whose tables the page of an exported run shows first, before what it folds."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Installed packages that scores depend on; pages show their versions."""

    @abstractmethod
    def report(self, outcome: Outcome, folder: Path) -> Mapping[str, Any]:
        """Draw figures into ``folder``; return keys for ``result.json``, as the problem's ``Result`` has them."""

    def delete_checkpoints(self, folder: Path) -> None:  # noqa: B027 - most have none
        """Delete the files in ``folder`` that only an interrupted :meth:`report` needs; a kill may interrupt this."""

    @classmethod
    def about(cls, settings: Any) -> str:
        """Subject of a run, in a few words for titles of pages and figures, as a model and a text."""
        return ""

    @classmethod
    def drawn_references(cls, settings: Any) -> Collection[str]:
        """The names of the references that figures of a search show as lines."""
        return ()

    @classmethod
    def summary(cls, result: Any) -> Sequence[str]:
        """Lines that tell a person the ``result``: first the verdict, which the run's page begins with, too."""
        return []


def reporting(problem: type[Problem]) -> type[Reporting]:
    """Return the class that reports of ``problem``, or :class:`Reporting` with its defaults if it reports nothing."""
    return part_class(problem, Reporting) or Reporting


def titles(problem: type[Problem], settings: Any, seed: int) -> tuple[str, Collection[str]]:
    """Return the subject of a run of ``problem``, and the references that figures of its search show."""
    told = reporting(problem)
    return ", ".join(filter(None, [told.about(settings), f"seed {seed}"])), told.drawn_references(settings)
