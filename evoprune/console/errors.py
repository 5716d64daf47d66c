"""Errors that are reported to the user, each with its exit code."""

import difflib
import errno
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sysconfig import get_paths
from traceback import walk_tb
from typing import Any

_LIBRARIES = {Path(__file__).parents[1], *(Path(get_paths()[key]) for key in ("stdlib", "purelib", "platlib"))}
DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


class InputError(Exception):
    """Input that cannot be used: exit code 2. ``problems``: a line a fault; ``source``: their file or option.

    >>> from evoprune import InputError
    >>> str(InputError("seed: expected a whole number, got 'x'", "a.yaml"))
    "a.yaml: seed: expected a whole number, got 'x'"
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str], source: str | None = None) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.source = source
        super().__init__(str(self))

    def __str__(self) -> str:
        lead = f"{self.source}: " if self.source else ""
        if len(self.problems) == 1:
            return lead + self.problems[0]
        return "\n  ".join([f"{lead}{len(self.problems)} errors", *self.problems])


@contextmanager
def blamed_on(source: str) -> Iterator[None]:
    """Set ``source`` in each :class:`InputError` that is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(error.problems, source) from None


class Stopped(Exception):
    """The command ended early for a reason outside the input, as a full disk: exit code 3.

    >>> from evoprune import Stopped
    >>> Stopped("no result for 60 s").exit_code
    3
    """

    exit_code = 3


@contextmanager
def stopping_at_full_disks(place: Path) -> Iterator[None]:
    """Turn errors of a full or failing disk, while ``place`` is written to, into :class:`Stopped`."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_TROUBLE:
            raise
        raise Stopped(f"cannot write into {place}: {error.strerror}; what was written before is intact") from error


def first_line(error: BaseException | str) -> str:
    """Return the first line of an error of a library, cut if it is long, or its type if it has no text."""
    return next((line[:500] for line in str(error).splitlines() if line.strip()), type(error).__name__)


def typed(error: BaseException) -> str:
    """Return the type and text of an error, less characters that no file can hold."""
    try:
        text = str(error)
    except Exception:  # an error of its own
        text = "its text cannot be read"
    return f"{type(error).__name__}: {text}".encode(errors="backslashreplace").decode()


def traced(error: BaseException) -> str:
    """Return the type and text of an error, and the file and line of the last code that is of no library."""
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.is_absolute() and not _LIBRARIES & {*path.parents}:
            place = f" ({path.name}:{line})"
    return typed(error) + place


class _Repr(reprlib.Repr):
    """Python's repr, which cuts huge values."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 90

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:
            return "a number of more digits than Python writes"


def cut_repr(value: Any) -> str:
    """``value`` as Python writes it, on one line, cut to 60 characters."""
    text = " ".join(_Repr().repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def as_tuple(values: Any, source: str) -> tuple[Any, ...]:
    """Return ``values``, a list, as a tuple. Raises :class:`InputError` of ``source`` for others."""
    try:
        return tuple(values)
    except TypeError:
        raise InputError(f"expected a list, got {cut_repr(values)}", source) from None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest of ``names``, then all."""
    names = sorted(names)
    near = nearest(str(name), names)
    guess = f"; did you mean '{near}'?" if near else ""
    return f"{guess} (known: {', '.join(names) or 'none'})"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the most similar of ``names`` to ``name``; None if none is similar."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)), None)
