"""Tensors that all processes of one user on one host share: built by the first, mapped by the others.

They are in a safetensors file in a private folder of the user, under the system's temporary
folder. A process that uses a file holds a shared lock on it; the last one to release it deletes
the file. A killed process releases its lock too; the next process to start deletes its files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from evoprune import user_folder
from problems.language_model.resident import Resident

Tensors = dict[str, torch.Tensor]


def shared_of(resident: Resident, what: Sequence[object], build: Callable[[], Tensors]) -> Tensors:
    """The tensors that ``what`` identifies: of all processes on a host for a model on the CPU, else of this device."""
    if resident.device.type != "cpu":
        return build()
    return shared(hashlib.sha256(repr(what).encode()).hexdigest()[:32], build, resident)


def shared(name: str, build: Callable[[], Tensors], holder: object) -> Tensors:
    """The tensors called ``name``, on the CPU and read-only; ``build`` makes them if they do not exist.

    ``name`` must identify the content, like a hash. The file is kept for others while ``holder`` lives. If no file
    can be written, the tensors are private to this process.
    """
    folder = user_folder()
    _sweep(folder)
    path = folder / f"{name}.safetensors"
    while True:  # until the file exists and we hold the lock that keeps it
        lock = _locked(path.with_suffix(".lock"), fcntl.LOCK_SH)
        if path.exists():
            break
        os.close(lock)
        lock = _locked(path.with_suffix(".lock"), fcntl.LOCK_EX)
        try:
            if not path.exists():
                tensors = build()
                if not _written(tensors, path):
                    return tensors
        finally:
            os.close(lock)
    weakref.finalize(holder, _release, path, lock)
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is not a mapping


def _written(tensors: Tensors, path: Path) -> bool:
    """Write ``path`` completely or not at all; False if that fails."""
    part = path.with_suffix(".part")
    try:
        save_file(tensors, part)
        part.replace(path)
    except Exception:  # safetensors raises its own kind of error if the disk is full
        part.unlink(missing_ok=True)
        return False
    return True


def _locked(path: Path, kind: int) -> int:
    """A descriptor of ``path``, created if missing, that holds a lock of ``kind``."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last user deleted it while we waited: begin again


def _release(path: Path, lock: int) -> None:
    """Release ``lock``, and delete ``path`` if no other process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return
    for leftover in (path, path.with_suffix(".part"), path.with_suffix(".lock")):
        leftover.unlink(missing_ok=True)
    os.close(lock)


def _sweep(folder: Path) -> None:
    """Delete the files of killed processes."""
    for path in folder.glob("*.lock"):
        try:
            lock = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # in use
        _release(path.with_suffix(".safetensors"), lock)
