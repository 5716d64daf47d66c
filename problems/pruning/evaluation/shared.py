"""Tensors that all evaluators on one host share: built by the first, mapped by the others.

They lie in a safetensors file in a folder of the user's own, under the system's temporary
one. Whoever uses a file holds a shared lock on it; the last to let go deletes it. A process
that is killed gives up its lock too, and what it left is swept up by the next one to start.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from evoprune import private_folder

Tensors = dict[str, torch.Tensor]


def shared(name: str, build: Callable[[], Tensors], holder: object) -> Tensors:
    """The tensors called ``name``, on the CPU and not to be written; ``build`` makes them where they are not there yet.

    ``name`` must tell contents apart, as a hash does. The file is kept for others while ``holder`` lives. Where
    none can be written, the tensors are this process's own.
    """
    folder = private_folder()
    _sweep(folder)
    path = folder / f"{name}.safetensors"
    while True:  # until it is there while we hold the lock that keeps it there
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
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping


def _written(tensors: Tensors, path: Path) -> bool:
    """Write ``path`` whole or not at all; False if it cannot be."""
    part = path.with_suffix(".part")
    try:
        save_file(tensors, part)
        part.replace(path)
    except Exception:  # safetensors raises a kind of its own where a disk is full
        part.unlink(missing_ok=True)
        return False
    return True


def _locked(path: Path, kind: int) -> int:
    """A descriptor of ``path``, made where missing, that holds a lock of ``kind``."""
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
    """Give up ``lock``, and delete ``path`` if no one else holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return
    for leftover in (path, path.with_suffix(".part"), path.with_suffix(".lock")):
        leftover.unlink(missing_ok=True)
    os.close(lock)


def _sweep(folder: Path) -> None:
    """Delete what killed processes left."""
    for path in folder.glob("*.lock"):
        try:
            lock = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # in use
        _release(path.with_suffix(".safetensors"), lock)
