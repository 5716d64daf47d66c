"""Keeps a report fresh while its runs go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from evoprune.ablation import campaign
from evoprune.errors import InputError
from evoprune.records.status import look
from evoprune.report.page import Unwritable, write


def watch(
    folders: Sequence[Path], out: Path, seconds: float, wait: Callable[[float], None] = time.sleep
) -> tuple[Path, Path]:
    """Write the report every ``seconds`` until nothing in it goes on; return what :func:`evoprune.report.write` does.

    The last page is that of what is finished, and reloads itself no more.
    """
    while any(map(_goes_on, folders)):
        try:
            write(folders, out, refresh=seconds)
        except Unwritable:
            raise
        except InputError:  # one that has scored nothing yet, while it goes on
            if not any(map(_goes_on, folders)):
                raise
        wait(seconds)
    return write(folders, out)


def _goes_on(folder: Path) -> bool:
    return campaign.goes_on(folder) or look(folder).goes_on
