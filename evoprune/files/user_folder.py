"""Folders that the processes of one user on one host share: for locks, and for files that can be made again."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from evoprune.errors import InputError


def user_folder() -> Path:
    """The user's own folder under the system's temporary one, made where missing. Raises as :func:`private_folder`."""
    return private_folder(Path(tempfile.gettempdir()) / f"evoprune-{os.getuid()}", "TMPDIR")


def private_folder(folder: Path, variable: str) -> Path:
    """``folder``, made where missing; the environment's ``variable`` chooses another one.

    Raises :class:`InputError` if that name is taken by somebody else's, or is open to others, and OSError if it cannot
    be made.
    """
    with suppress(FileExistsError):  # possibly by something that is no folder, as checked next
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise InputError(
            f"expected a folder that belongs to you alone (mode 700); remove it, or set {variable} to another folder",
            str(folder),
        )
    return folder
