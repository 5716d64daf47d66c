"""Errors that are reported to the user, each with its exit code."""

import difflib
import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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


def first_line(error: BaseException) -> str:
    """Return the first line of an error of a library, or its type if it has no text."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest of ``names``, then all."""
    names = sorted(names)
    near = nearest(str(name), names)
    guess = f"; did you mean '{near}'?" if near else ""
    return f"{guess} (known: {', '.join(names) or 'none'})"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the most similar of ``names`` to ``name``; None if none is similar."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)), None)
