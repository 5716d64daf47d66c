"""Optional parts of a problem whose results are exported, measured again or recovered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from evoprune.errors import InputError
from evoprune.interfaces.schema import Checked


@dataclass(frozen=True)
class Quantity:
    """A number by which exports are compared. ``label``: what it is called, with the unit.

    ``better``: which way; None where it is stated, and nothing is better for it.
    """

    label: str
    better: Literal["lower", "higher"] | None = None


@dataclass(frozen=True)
class Standing:
    """Measurements of an export. ``values``: by quantity; None, or left out, where it was not measured.

    ``measured_on``: the data, in words; only what was measured on the same is compared.
    """

    values: Mapping[str, float | str | None]
    measured_on: str


@dataclass(frozen=True)
class Rival:
    """A solution that the exports of a front are compared with.

    ``family``: the folder of its export. ``name``: that of its export; empty for what each run has of its own.
    ``make`` gives the problem that reports and exports it, its genome, and genomes that the report compares it with, by
    name; it raises :class:`evoprune.InputError` where there is none.
    """

    family: str
    name: str
    make: Callable[[], tuple[Any, Sequence[float], Mapping[str, Sequence[float]]]]


@dataclass(frozen=True)
class Exported:
    """Result of :meth:`Exporting.export`.

    ``facts``: JSON-able, what ``evoprune.json`` will hold. ``summary``: lines for a person.
    ``faults``: why what was written must not be used; empty where it was checked and is sound.
    """

    facts: Mapping[str, Any]
    summary: Sequence[str] = ()
    faults: Sequence[str] = ()


class Exporting(ABC):
    """A result that can be written in a form that others use."""

    ExportOptions: ClassVar[type[Checked]] = Checked
    """What :meth:`export` may be told; each field is an option of the commands ``export`` and ``front``."""

    quantities: ClassVar[Mapping[str, Quantity]] = MappingProxyType({})
    """What the command ``front`` shows of exports: the first, which says how good one is, against all others that are
    better one way."""

    @classmethod
    def file_suffixes(cls) -> Collection[str]:
        """Ends of names, such as ``.txt``, for which :meth:`export` writes one file; for all others it is a folder."""
        return ()

    @classmethod
    def writes_file(cls, out: Path) -> bool:
        """Return whether an export to ``out`` is one file, by its suffix."""
        return out.suffix in cls.file_suffixes()

    @abstractmethod
    def export(self, genome: Sequence[float], result: Any, place: Path, options: Any) -> Exported:
        """Write ``genome`` to ``place`` and check what was written.

        ``place``: an empty folder; or, with one of :meth:`file_suffixes`, a file to make, beside which others may lie
        (:func:`evoprune.about`). ``result``: a :attr:`evoprune.Problem.Result`, with its ``folder``.
        ``options``: an :attr:`ExportOptions`. Raises :class:`evoprune.InputError`.
        """

    def rivals(self, first: bool) -> Iterator[Rival]:  # noqa: ARG002 - a default
        """Exports that ``front --rivals`` adds to this run's result: none by default.

        Of its ``first`` run also what is the same for all. What the machine was measured for is known.
        """
        return iter(())

    @classmethod
    def standing(cls, facts: Mapping[str, Any]) -> Standing:
        """Measurements of an export, of all :attr:`quantities`. ``facts``: its ``evoprune.json``.

        Raises :class:`evoprune.InputError` where the first was not measured.
        """
        raise InputError(f"the problem {cls.__name__} does not say what its exports are worth")

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Any:
        """Load an export from ``folder``, ready to use from Python. Raises :class:`evoprune.InputError`.

        ``facts``: its ``evoprune.json``.
        """
        raise InputError(f"the problem {cls.__name__} has no way to load its exports into Python", str(folder))


@dataclass(frozen=True)
class Table:
    """Measured solutions, a row each with the same keys, and the protocol they were measured under.

    ``shares``: keys of numbers in [0, 1] that people read in percent.
    """

    rows: Sequence[Mapping[str, Any]]
    protocol: Mapping[str, Any]
    shares: frozenset[str] = frozenset()


class Measuring(ABC):
    """Solutions that can be measured again, on other data or in other ways: the command ``eval``."""

    EvalOptions: ClassVar[type[Checked]] = Checked
    """What :meth:`compare` and :meth:`measure` may be told; each field is an option of the command ``eval``."""

    @abstractmethod
    def compare(self, genome: Sequence[float], result: Any, options: Any) -> Table:
        """Measure ``genome`` beside the known solutions. Raises :class:`evoprune.InputError`.

        ``result``: that of the run which found it, with its ``folder``.
        """

    @classmethod
    @abstractmethod
    def measures(cls, source: str) -> bool:
        """Guess whether :meth:`measure` can measure ``source``, which names no run.

        Must be quick and import nothing heavy: it is asked of each registered problem.
        """

    @classmethod
    @abstractmethod
    def measure(cls, source: str, options: Any) -> Table:
        """As :meth:`compare`, for the one solution that ``source`` names. Raises :class:`evoprune.InputError`."""


CHECKPOINT = "step-"
"""Prefix of checkpoints in the folder of a recovery."""


class Recovering(Measuring, Exporting):
    """Results that can be trained back: the command ``recover``."""

    RecoverOptions: ClassVar[type[Checked]] = Checked
    """What :meth:`recover` and :meth:`recover_export` may be told; each field is an option of the command."""

    @abstractmethod
    def recover(self, genome: Sequence[float], result: Any, workplace: Path, place: Path, options: Any) -> Exported:
        """Train ``genome`` and write it to ``place`` as :meth:`export` does.

        What an interrupted call leaves in ``workplace``, a folder that may not exist yet, is continued by the same
        call; it is kept if a name in it begins with :data:`CHECKPOINT`. Raises :class:`evoprune.InputError`, and
        :class:`evoprune.Stopped` if it did not help.
        """

    @classmethod
    @abstractmethod
    def recover_export(
        cls, source: Path, facts: Mapping[str, Any] | None, workplace: Path, folder: Path, options: Any
    ) -> Exported:
        """As :meth:`recover`, for what lies in the folder ``source``.

        ``facts``: its ``evoprune.json``; None where :meth:`export` did not write it.
        """
