"""Optional parts of a problem: each a class to inherit beside :class:`evoprune.Problem`, where a problem has it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from evoprune.interfaces.problem import Evaluation


class HeldOut(ABC):
    """Data that no search sees: early stopping (``patience``) asks what the best so far is worth there."""

    @abstractmethod
    def held_out_value(self, genome: Sequence[float]) -> float | None:
        """Value of ``genome`` on held-out data, lower being better; None without such data.

        Called in the process that breeds. Depends on nothing but the settings and the genome.
        """


class Finals(ABC):
    """A closer look at the finalists: the best few that a search scored are judged once more, by something dearer.

    The best of them by that judgement becomes the run's result. For problems with one objective. Known solutions may
    take part: a search that gains nothing over them does not hide them. A single finalist is not judged.
    """

    @property
    @abstractmethod
    def finalists(self) -> int:
        """Number of the search's finalists, at least 1; 0: the problem, as it is set up, holds no finals."""

    @property
    def contenders(self) -> Mapping[str, Sequence[float]]:
        """Known solutions that take part, by name: genomes that are among the references, and allowed as results."""
        return {}

    @property
    @abstractmethod
    def judging_cost(self) -> float:
        """The most that judging one of them costs, in the problem's ``work_unit``: a run's budget keeps it back."""

    @abstractmethod
    def judge(self, genome: Sequence[float]) -> Evaluation:
        """Judge ``genome``, by one value that is better in the direction in which fitness is.

        Called where candidates are scored, and bound by the same laws: what it raises is recorded as a failure.
        """


class Measured(ABC):
    """Measurements of the machine that a run needs, such as times: made once, stored in its ``measured.json``."""

    @abstractmethod
    def take_measurements(self) -> Mapping[str, Any]:
        """Measure in the process that breeds, before anything is written: JSON-able; empty where nothing is asked.

        Raises :class:`evoprune.InputError`.
        """

    @abstractmethod
    def use_measurements(self, facts: Mapping[str, Any]) -> None:
        """Take what :meth:`take_measurements` returned, before genes and budget are asked for.

        Called in each process that has the problem, on the machine of the run or another one.
        """


class Foreseeing(ABC):
    """Forecast of a run's needs on this machine, for ``validate --measure``."""

    @classmethod
    @abstractmethod
    def foresee(cls, settings: Any, work: float | None, evaluations: int) -> Mapping[str, str]:
        """Memory, disk, minutes and the like, by name, in words; may load and measure.

        ``work``: the run's budget, None if it has none; ``evaluations``: the most that its generations make.
        Raises :class:`evoprune.InputError`.
        """


class TradeOffs(ABC):
    """Several objectives, and a say in which of the best compromises becomes the run's result."""

    @abstractmethod
    def choose(self, front: Sequence[tuple[float, ...]]) -> int:
        """The place in ``front``, values of what no other candidate dominates, of the result."""


@dataclass(frozen=True)
class Outcome:
    """Argument of :meth:`Reporting.report`: the outcome of a finished search.

    ``best``: the best genome. ``best_evaluation``: its score. ``references``: name to
    (genome, score) of the known solutions. ``front``: genome and values of what no other
    candidate dominates, where there are several objectives.
    """

    best: list[float]
    best_evaluation: Evaluation
    references: Mapping[str, tuple[list[float], Evaluation]]
    front: Sequence[tuple[list[float], tuple[float, ...]]] = ()
    title: str = ""
    """What the run is on, for titles of figures."""


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

    packages: ClassVar[tuple[str, ...]] = ()
    """Installed packages that scores depend on; pages show their versions."""

    @abstractmethod
    def report(self, outcome: Outcome, folder: Path) -> Mapping[str, Any]:
        """Draw figures into ``folder``; return what is added to ``result.json``, as the problem's ``Result`` has it.

        :class:`evoprune.Result` lists the keys that the engine reads. Its own (``best``, ``work``, ``seed``, ...) keep
        the engine's value.
        """

    def delete_checkpoints(self, folder: Path) -> None:  # noqa: B027 - most have none
        """Delete from the run's ``folder`` what only an interrupted :meth:`report` needs: ``result.json`` is there now.

        A kill may interrupt this; the next call is after the next result.
        """

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
        """Lines that tell a person what the run found. ``result``: a :attr:`evoprune.Problem.Result`.

        The first is the verdict, a sentence or two, which the page of the run begins with, too.
        """
        return []


def reporting(problem: type) -> type[Reporting]:
    """``problem``, or what it would say if it reported anything."""
    return problem if issubclass(problem, Reporting) else Reporting


def titles(problem: type, settings: Any, seed: int) -> tuple[str, Collection[str]]:
    """Subject of a run of ``problem``, and the references that figures of its search show."""
    told = reporting(problem)
    return ", ".join(filter(None, [told.about(settings), f"seed {seed}"])), told.drawn_references(settings)
