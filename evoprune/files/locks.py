"""Locks between processes of one host, released when their process ends; and folders of one user for them."""

import fcntl
import hashlib
import math
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evoprune.console.errors import InputError
from evoprune.files.json_files import opened


def lock(path: Path, shared: bool = False, wait: float = math.inf) -> int | None:
    """Return a descriptor that locks ``path`` until it is closed; None if it stays locked for ``wait`` seconds."""
    end = time.monotonic() + wait
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, operation if wait == math.inf else operation | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(descriptor)
                return None
            time.sleep(0.02)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was deleted meanwhile, or is to be tried again


def is_locked(path: Path) -> bool:
    """Return whether a process has locked ``path``; False where the file system has no such locks."""
    try:
        with opened(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (InputError, OSError):
        return False
    return False


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Lock the creation of ``path`` among this user's processes until the context ends, or raise InputError."""
    file = user_folder() / f"{hashlib.sha256(bytes(path.resolve())).hexdigest()}.claim"
    if (descriptor := lock(file, wait=0)) is None:
        raise InputError("the same command, or another that makes it, is running already", str(path))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def user_folder() -> Path:
    """Return the user's :func:`private_folder` in the system's temporary folder, created if missing."""
    return private_folder(Path(tempfile.gettempdir()) / f"evoprune-{os.getuid()}", "TMPDIR")


def private_folder(folder: Path, variable: str) -> Path:
    """Return ``folder``, created if missing; refuse a folder that others can use. ``variable``: sets another one."""
    with suppress(FileExistsError):  # possibly by something that is no folder, as checked next
        folder.mkdir(mode=0o700, parents=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        remedy = f"chmod 700 it, remove it, or set {variable} to another"
        raise InputError(f"expected a folder that belongs to you alone: {remedy}", str(folder))
    return folder
