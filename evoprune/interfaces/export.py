"""Optional parts of a problem whose results are exported, or measured again."""

import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from evoprune.console.errors import InputError
from evoprune.interfaces.problem import Checked


@dataclass(frozen=True)
class Exported:
    """Result of an export: facts for ``evoprune.json``, summary lines, and faults why it must not be used.

    ``verdict``: a line that compares it with its source. ``usage``: commands that use it, a line each, the usual
    one first, with ``{out}`` for its path, and ``{stem}`` for that without the suffix.

    >>> from pathlib import Path
    >>> from evoprune import Exported
    >>> Exported({"bytes": 7}, usage="llama-cli -m {out}").lines(Path("small.gguf"))
    ['written and checked: small.gguf', 'to use it: llama-cli -m small.gguf']
    """

    facts: Mapping[str, Any]
    summary: Sequence[str] = ()
    faults: Sequence[str] = ()
    verdict: str = ""
    usage: str = ""

    def lines(self, out: Path) -> list[str]:
        """Return lines about the export ``out`` for people, the verdict and the command last."""
        usage = [f"to use it: {line}" for line in commands(self.usage, out)[:1]]
        return list(filter(None, [*self.summary, self.verdict, f"written and checked: {out}", *usage]))


def commands(usage: str, out: Path) -> list[str]:
    """Return the lines of ``usage`` for the export ``out``, as a shell reads them."""
    places = {"out": str(out), "stem": str(out.with_suffix(""))}
    return re.sub(r"\{(out|stem)\}(\S*)", lambda found: shlex.quote(places[found[1]] + found[2]), usage).splitlines()


class Exporting(ABC):
    """A result that can be written in a form that others use."""

    ExportOptions: ClassVar[type[Checked]] = Checked
    """Options of :meth:`export`; each field is an option of the commands ``export`` and ``front``."""

    @classmethod
    def file_suffixes(cls) -> Collection[str]:
        """Suffixes such as ``.txt`` for which :meth:`export` writes one file, not a folder."""
        return ()

    @classmethod
    def writes_file(cls, out: Path) -> bool:
        return out.suffix in cls.file_suffixes()

    @abstractmethod
    def export(self, genome: Sequence[float], result: Any, place: Path, options: Any) -> Exported:
        """Write ``genome`` to ``place`` and check the files. Raises :class:`evoprune.InputError`.

        ``place``: an empty folder; or, with one of :meth:`file_suffixes`, the path of a new file, which may have files
        about it (:func:`evoprune.plugins.sidecar`). ``result``: of the run, with its ``folder``.
        """

    def draft(self, genome: Sequence[float], place: Path, options: Any) -> bool:  # noqa: ARG002 - a default
        """Write ``genome`` to the file ``place`` and check it within seconds, or return False: before a run's end.

        Raises InputError for a file that cannot be used.
        """
        return False

    @classmethod
    def compared(cls, facts: Mapping[str, Any]) -> tuple[Mapping[str, float], str]:
        """Numbers of an export from its ``evoprune.json``, by label with unit, and the data that it was measured on.

        Less is better. The command ``front`` shows the first, the quality, against each of the others. Raises
        InputError where the quality was not measured.
        """
        raise InputError(f"the problem {cls.__name__} compares no exports")

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Any:
        """Load an export from ``folder``, ready to use from Python. ``facts``: its ``evoprune.json``."""
        raise InputError(f"the problem {cls.__name__} has no way to load its exports into Python", str(folder))


@dataclass(frozen=True)
class Table:
    """Measured solutions, a row each with the same keys, and their protocol.

    ``shares``: keys shown in percent. ``words``: display labels of keys, with units.
    """

    rows: Sequence[Mapping[str, Any]]
    protocol: Mapping[str, Any]
    shares: frozenset[str] = frozenset()
    words: Mapping[str, str] = field(default_factory=dict)


class Measuring(ABC):
    """Solutions that can be measured again, on other data or in other ways: the command ``eval``."""

    EvalOptions: ClassVar[type[Checked]] = Checked
    """Options of :meth:`compare` and :meth:`measure`; each field is an option of the command ``eval``."""

    @abstractmethod
    def compare(self, genome: Sequence[float], result: Any, options: Any) -> Table:
        """Measure ``genome`` and the known solutions. ``result``: of the run, with its ``folder``."""

    @classmethod
    @abstractmethod
    def measures(cls, source: str) -> bool:
        """Guess quickly, without heavy imports, whether :meth:`measure` can measure ``source``, no run."""

    @classmethod
    @abstractmethod
    def measure(cls, source: str, options: Any) -> Table:
        """As :meth:`compare`, for the one solution that ``source`` names. Raises :class:`evoprune.InputError`."""
