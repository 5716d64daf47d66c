"""Runs in processes of their own: waiting for them, and what they leave, but for times."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evoprune.records import recorded, run_folder
from evoprune.records.history import VARYING, Line
from evoprune.search import search


def draw_nothing() -> None:
    """Draw no figure of a search in a process that tests started, where it takes longer than the search."""
    if "pytest" not in sys.modules:
        search.draw_convergence = search.draw_front = lambda *_: None


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until ``condition()``, five minutes at most, while ``process`` goes on."""
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)  # leave the cores to what it waits for


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for ``process``, check its exit code and return what it said."""
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    return errors


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Limit files to ``size`` bytes, as a full disk does: the write that passes it is cut short, the next one fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def candidates(folder: Path) -> list[Line]:
    """Those that a run, which may be going on, has recorded so far."""
    return [line for line in recorded.lines(folder / run_folder.HISTORY) if "candidate" in line]


def without_times(lines: Iterable[Mapping[str, Any]]) -> list[Line]:
    """``lines`` of a history, less what may differ between two runs of one configuration and seed."""
    return [{key: value for key, value in line.items() if key not in VARYING} for line in lines]


def lines(folder: Path) -> list[Line]:
    """The history, times and workers aside."""
    return without_times(recorded.lines(folder / run_folder.HISTORY))


def result(folder: Path) -> dict[str, Any]:
    """The result, times aside."""
    found = json.loads((folder / "result.json").read_text())
    return {key: value for key, value in found.items() if not key.startswith("seconds")}
