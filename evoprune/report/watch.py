"""Rewrites a report while its runs continue."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from evoprune.ablation import campaign
from evoprune.records.status import look
from evoprune.report.page import write, write_states
from evoprune.report.unfinished import NothingYet


def watch(
    folders: Sequence[Path], out: Path, seconds: float, wait: Callable[[float], None] = time.sleep
) -> tuple[Path, Path]:
    """Write the report every ``seconds`` until nothing in it is running; return as :func:`evoprune.report.write`.

    The last page is that of what is finished, and reloads itself no more.
    """
    while any(map(_is_running, folders)):
        try:
            write(folders, out, refresh=seconds)
        except NothingYet:
            if not any(map(_is_running, folders)):
                raise
            write_states(folders, out, refresh=seconds)
        wait(seconds)
    return write(folders, out)


def _is_running(folder: Path) -> bool:
    return campaign.is_running(folder) or look(folder).is_running
