"""Folders of runs as arguments: a folder that contains runs stands for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from evoprune.ablation.campaign import is_campaign
from evoprune.console.phase import note
from evoprune.errors import InputError
from evoprune.records.run_folder import RESULT, STATUS, has_experiment
from evoprune.records.status import find, look
from evoprune.report.reading import so_far


def to_report(folders: Sequence[Path], watch: bool = False) -> list[Path]:
    """Return the runs in ``folders``, and ablations as they are; of a folder of runs, those with a score.

    ``watch``: and those that are running.
    """
    found = []
    for folder in folders:
        found += [folder] if _stands_for_itself(folder) or is_campaign(folder) else _scored(folder, watch)
    if not found:
        raise InputError("holds no run that has scored anything yet", str(folders[0]))
    return found


def to_continue(folders: Sequence[Path]) -> list[Path]:
    """Return the runs in ``folders``; of a folder of runs, those that ended early."""
    found = [run for folder in folders for run in ([folder] if _stands_for_itself(folder) else _ended_early(folder))]
    if not found:
        raise InputError("holds no run that ended early; there is nothing to continue", str(folders[0]))
    return found


def _stands_for_itself(folder: Path) -> bool:
    return has_experiment(folder) or not any(folder.rglob(STATUS))


def _scored(folder: Path, and_running: bool) -> list[Path]:
    def has_scored(run: Path) -> bool:
        if not ((run / RESULT).exists() or (and_running and look(run).is_running)):
            so_far(run)  # raises where nothing is scored
        return True

    return _usable(folder, has_scored)


def _ended_early(folder: Path) -> list[Path]:
    return _usable(folder, lambda run: look(run).resumable)


def _usable(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """Return the runs in ``folder`` that are ``wanted``; one that cannot be read is told, and hinders no other."""
    runs = []
    for run in find(folder):
        try:
            if wanted(run):
                runs.append(run)
        except InputError as error:
            note(f"left out: {error}")
    return runs
