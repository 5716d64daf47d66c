"""A cache on disk of limited size for results that can be computed again; least recently used files go first."""

import argparse
import fcntl
import math
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import ClassVar

from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from evoprune import InputError
from evoprune.plugins import Command, aligned, atomically, lock, private_folder

FOLDER, LIMIT = "EVOPRUNE_CACHE", "EVOPRUNE_CACHE_GB"
"""Environment variables: the folder, and the limit of all files together."""

_GB = 10**9
_MOST, _SHARE = 10 * _GB, 0.1
"""The default limit: the lesser of a number of bytes, and a share of the disk's free space without the files."""

_SUFFIX, _LOCK = ".safetensors", ".lock"
_PATIENCE = 0.1  # seconds to wait for the lock to make a file


def cache_folder() -> Path:
    """Return the folder, made if missing. Raises OSError, and :class:`InputError` if other users may enter it."""
    if chosen := os.environ.get(FOLDER):
        return private_folder(Path(chosen).expanduser().absolute(), FOLDER)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        if not base.is_absolute():  # then the specification says to ignore it
            base = Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    return private_folder(base / "evoprune", FOLDER)


def cache_limit() -> int:
    """Return the limit, in bytes, of unused files. Raises :class:`InputError`, and as :func:`cache_folder`."""
    if (limit := os.environ.get(LIMIT)) is None:
        free = shutil.disk_usage(cache_folder()).free + sum(entry.bytes for entry in entries())
        return min(_MOST, int(_SHARE * free))
    try:
        return int(float(limit) * _GB)
    except (ValueError, OverflowError):
        raise InputError(f"expected a number of gigabytes, got '{limit}'", LIMIT) from None


@dataclass(frozen=True)
class Entry:
    """A cached file in a list."""

    path: Path
    bytes: int
    used: float  # time of the last use, in seconds since 1970

    def about(self) -> dict[str, str]:
        """Return the metadata: the keys ``what`` and ``model``; empty if the file is damaged."""
        try:
            with safe_open(self.path, framework="numpy") as file:
                return file.metadata() or {}
        except (OSError, SafetensorError):
            return {}


def entries() -> list[Entry]:
    """Return all files, the least recently used first. Raises as :func:`cache_folder`."""
    files = []
    for path in cache_folder().glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):  # deleted just now
            state = path.stat()
            files.append(Entry(path, state.st_size, state.st_mtime))
    return sorted(files, key=lambda entry: entry.used)


class CachedFile:
    """A locked file of the cache: it can be used if it :attr:`exists`, else it has to be made."""

    def __init__(self, name: str) -> None:
        """Wait while another process makes the file ``name``, which must identify its content, like a hash."""
        cache_limit()  # so that a faulty setting is reported now, not at the end
        self.path = cache_folder() / f"{name}{_SUFFIX}"
        for shared in cycle((True, False)):  # the lock to use the file, and the one to make it
            # The one to make it may never be free: another process has made the file meanwhile, and uses it.
            handle = lock(self.path.with_suffix(_LOCK), shared, wait=math.inf if shared else _PATIENCE)
            if handle is None:
                continue
            if self.exists is shared:
                self._lock = handle
                if shared:
                    os.utime(self.path)
                return
            os.close(handle)

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def make(self, write: Callable[[Path], None]) -> None:
        """Let ``write`` write the file atomically, and lock it for use."""
        with atomically(self.path, sync=False, alone=True) as part:
            write(part)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        make_room()

    def discard(self) -> None:
        """Delete and release the damaged file; processes that have it open can still read it."""
        for path in (self.path, self.path.with_suffix(_LOCK)):
            path.unlink(missing_ok=True)
        os.close(self._lock)

    def release(self) -> None:
        os.close(self._lock)
        make_room()


def clear() -> list[Entry]:
    """Delete and return all unused files. Raises as :func:`cache_folder`."""
    make_room()  # also deletes files of killed processes
    return [entry for entry in entries() if _delete(entry.path)]


def make_room() -> None:
    """Delete unused files beyond the limit, and unfinished files of killed processes."""
    with suppress(OSError, InputError):
        for path in cache_folder().glob(f"*{_LOCK}"):
            if not path.with_suffix(_SUFFIX).exists():
                _delete(path)
        files = entries()
        excess = sum(entry.bytes for entry in files) - cache_limit()
        for entry in files:
            if excess > 0 and _delete(entry.path):
                excess -= entry.bytes


def _delete(path: Path) -> bool:
    """Delete the file ``path``, unfinished parts and its lock, unless it is locked; return True if deleted."""
    try:
        handle = lock(path.with_suffix(_LOCK), wait=0)
    except OSError:
        return False
    if handle is None:
        return False
    for file in path.parent.glob(f"{path.stem}.*"):
        file.unlink(missing_ok=True)
    os.close(handle)
    return True


class Cache(Command):
    """List or delete the cached files that take long to compute.

    EVOPRUNE_CACHE sets their folder, and EVOPRUNE_CACHE_GB limits its size.
    """

    help: ClassVar[str] = "list the files kept for later runs, or delete them"
    example: ClassVar[str] = "python -m evoprune cache --clear"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--clear", action="store_true", help="delete all that no process uses")

    @classmethod
    def call(cls, options: argparse.Namespace) -> None:
        if options.clear:
            gone = clear()
            print(f"deleted: {len(gone)} files, {_size(gone)}")
        kept, rows = entries(), [["what", "model", "size", "last used"]]
        for entry in reversed(kept):
            about, used = entry.about(), datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
            rows.append([about.get("what", "damaged"), about.get("model", "-"), _size([entry]), used])
        most = tqdm.format_sizeof(cache_limit(), "B")
        total = f"{len(kept)} files, {_size(kept)} of at most {most}, in {cache_folder()}"
        print(*(aligned(rows) if kept else []), total, sep="\n")


def _size(some: Sequence[Entry]) -> str:
    return str(tqdm.format_sizeof(sum(entry.bytes for entry in some), "B"))
