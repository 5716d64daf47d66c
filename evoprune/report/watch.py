"""Keeps a report fresh while its runs go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from evoprune.errors import InputError
from evoprune.report.page import write
from evoprune.status import look


def watch(
    folders: Sequence[Path], out: Path, seconds: float, wait: Callable[[float], None] = time.sleep
) -> tuple[Path, Path]:
    """Write the report every ``seconds`` until no run goes on; return what :func:`evoprune.report.write` does.

    The last page is that of the finished runs, and reloads itself no more.
    """
    while any(look(folder).goes_on for folder in folders):
        try:
            write(folders, out, refresh=seconds)
        except InputError:  # one that has scored nothing yet, while it goes on
            if not any(look(folder).goes_on for folder in folders):
                raise
        wait(seconds)
    return write(folders, out)
