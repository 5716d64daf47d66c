"""A run's folder: making, locking and writing it; and the export and page that were promised with the run."""

import os
import platform
import re
import shlex
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from evoprune.console.errors import InputError, cut_repr, stopping_at_full_disks
from evoprune.experiment.config import Config, dumped
from evoprune.experiment.explain import validated
from evoprune.files.json_files import PART, read_json, write_json, write_text
from evoprune.files.locks import lock
from evoprune.files.paths import path_of, staging_folder

CONFIG, STATUS, LOCK = "config.yaml", "status.json", "lock"  # written before anything is loaded
PROMISED = "promised.json"  # a Promise
ENVIRONMENT, MEASURED = "environment.json", "measured.json"  # written before the first score
HISTORY, AHEAD = "history.jsonl", "ahead.jsonl"  # the scores: see evoprune.records.history
ASKED, CLAIMS = "asked.jsonl", "claims"  # of several processes: see evoprune.search.sharing
RESULT = "result.json"  # written at the end
TIMES = "times.json"  # seconds of each phase of a planned run, by name
EXPORTED = "exported.json"  # the path of the last export of the result, for the run's page
_FILES = {CONFIG, STATUS, LOCK, PROMISED, ENVIRONMENT, MEASURED, HISTORY, AHEAD, ASKED, CLAIMS, RESULT, TIMES, EXPORTED}


class Busy(InputError):
    """Another process has the folder."""


def command_on(folder: Path, name: str, *options: str) -> str:
    """Return the shell command ``name`` on the run in ``folder``, from the current directory."""
    place = os.path.relpath(folder) if folder.is_absolute() else str(folder)
    return shlex.join(["python", "-m", "evoprune", name, place, *options])


def choose(runs_dir: Path, name: str | None, stem: str, may_exist: bool = False) -> Path:
    """Choose the folder of a new run: ``name``, which ``may_exist``, or ``stem``, time and process number.

    Raises :class:`InputError` if the folder cannot be made, which is tried, as the search may take hours.
    """
    if name is not None:
        check_name(name, "--name")
        folder = runs_dir / name
        if os.path.lexists(folder):
            if may_exist:
                return folder
            more = f", or continue it: python -m evoprune resume {folder}" if has_experiment(folder) else ""
            raise InputError(f"'{folder}' exists already; choose another name{more}", "--name")
    else:
        stem = f"{stem}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"  # of many that start in the same second
        places = (runs_dir / f"{stem}{end}" for end in ("", *(f"-{number}" for number in range(2, 1000))))
        folder = next(place for place in places if not os.path.lexists(place))
    with creation_errors(folder), staging_folder(folder):  # which deletes it again
        return folder


def check_name(name: str, option: str) -> None:
    """Raise :class:`InputError` of ``option`` unless ``name`` is a plain folder name."""
    if path_of(name, option).name != name or name in {"", ".."}:
        raise InputError(f"expected a plain folder name, got {cut_repr(name)}", option)


def has_experiment(folder: str | Path) -> bool:
    """Return whether ``folder`` is that of a run, finished or not: whether it has an experiment."""
    try:
        return (Path(folder) / CONFIG).exists()
    except OSError:  # for example, a name that is too long
        return False


@contextmanager
def creation_errors(folder: Path) -> Iterator[None]:
    """Turn errors of making ``folder`` into :class:`InputError`."""
    try:
        yield
    except OSError as error:
        there = os.path.lexists(folder)
        why = "exists already" if there else f"cannot be made: {error.strerror}"
        raise (Busy if there else InputError)(f"'{folder}' {why}; nothing was changed", "--runs-dir") from None


@contextmanager
def locked(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Lock ``folder`` until the context ends. Raises :class:`Busy` if another process has the lock."""
    try:
        descriptor = lock(folder / name, wait=0.1)  # :func:`is_locked` may have it for a moment
    except OSError as error:
        raise InputError(f"cannot be locked for writing: {error.strerror}", str(folder)) from None
    if descriptor is None:
        raise Busy("another process is still running it; nothing was changed", str(folder))
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def created(folder: Path, write: Callable[[Path], None]) -> Iterator[None]:
    """Create ``folder`` atomically, with the files that ``write`` writes, and lock it until the context ends.

    An :class:`InputError` inside deletes it, if nothing was scored. Raises one if it exists or cannot be created.
    """
    with ExitStack() as stack:
        with creation_errors(folder), stopping_at_full_disks(folder):
            part = stack.enter_context(staging_folder(folder))
            stack.enter_context(locked(part))
            write(part)
            part.rename(folder)
        try:
            yield
        except InputError:
            if not (folder / HISTORY).exists():
                shutil.rmtree(folder)
            raise


def refuse_foreign(folder: Path) -> None:
    """Raise :class:`InputError` unless ``folder`` is a run's, or empty, with plain files: a link leads elsewhere."""
    if not folder.is_dir():
        raise InputError("is not the folder of a run", str(folder))
    names = set()
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # some files of a live run last a moment
            kind, is_file = stat.S_IFMT(path.lstat().st_mode), path.name in _FILES or path.suffix == ".svg"
            if kind != stat.S_IFREG and (is_file or kind != stat.S_IFDIR):
                raise InputError("is a link or no plain file, which no run makes; refused", str(path))
            names.add(path.name)
    if CONFIG not in names and any(name != LOCK and not name.endswith(PART) for name in names):
        raise InputError(f"holds files but no {CONFIG}, so no run to continue; nothing was changed", str(folder))


def write_config(folder: Path, config: Config, name: str = CONFIG) -> None:
    """Write the resolved experiment, whole or not at all."""
    write_text(folder / name, dumped(config))


def read_measured(folder: Path) -> dict[str, Any]:
    """Read the measurements of the machine by the run in ``folder``; empty if there are none."""
    return read_json(folder / MEASURED, missing={})


def environment() -> dict[str, Any]:
    """Environment of the run: command, Python, machine, and every installed package."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": _packages(),
    }


@cache
def _packages() -> dict[str, str]:
    """Version of each installed package, by name; a regular expression is faster than parsing all metadata."""
    texts = (package.read_text("METADATA") or package.read_text("PKG-INFO") or "" for package in distributions())
    found = (tuple(re.search(rf"^{key}: *(.*)", text, re.MULTILINE) for key in ("Name", "Version")) for text in texts)
    return dict(sorted((name[1], version[1]) for name, version in found if name and version))


class Promise(BaseModel):
    """``promised.json``: the work that remains after a run of ``command``: the page, and the export to ``out``, if any.

    ``seconds``, ``searching``: of work on the run, and on the search in it, at most; None for no limit. ``planning``:
    seconds that it took to plan. ``draft``: size and time of change of the last two drafts.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    out: str | None = None
    options: dict[str, Any] = {}
    seconds: float | None = None
    searching: float | None = None
    planning: float = 0.0
    command: list[str] = []
    draft: list[list[int]] = []

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the promise of the run in ``folder``, if any. Raises :class:`InputError` for a damaged one."""
        path = folder / PROMISED
        return validated(cls, read_json(path), str(path)) if path.exists() else None

    def write(self, folder: Path) -> None:
        write_json(folder / PROMISED, self.model_dump())
