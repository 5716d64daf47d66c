"""The task of a worker that SCOOP or Dask started, and how such a worker gets a device of its own.

Neither tells its workers apart, so each takes a lock file at its first task. The lock is on
this host alone, and ends with the process that holds it.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from evoprune.backends.base import Evaluate
from evoprune.backends.evaluation import Place, settle, worker_name
from evoprune.private import private_folder
from evoprune.problem import Evaluation

_held: list[int] = []
"""Open lock files; closing one would free it."""

_seated = False

_one_at_a_time = threading.Lock()
"""A worker of Dask's may have several threads, and a problem is built for one: it changes the model's own weights."""


def work(devices: tuple[str, ...], threads: int | None, function: Evaluate, genome: Sequence[float]) -> Evaluation:
    """``function(genome)``, in a process that has taken its seat. To be sent to workers."""
    with _one_at_a_time:
        sit(devices, threads)
        return function(genome)


def sit(devices: tuple[str, ...], threads: int | None) -> None:
    """Settle this process on a device of its own, once."""
    global _seated
    if not _seated:
        settle(Place(_take(devices), threads), worker_name())
        _seated = True


def _take(devices: Sequence[str]) -> str | None:
    """A device that no process has; where all are taken, one that the fewest have."""
    if not devices or set(devices) == {"cpu"}:
        return devices[0] if devices else None
    folder = private_folder()
    for level in itertools.count():
        for device in devices:
            if _lock(folder / f"{device.replace(':', '-')}.{level}"):
                return device
    return None


def _lock(path: Path) -> bool:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    _held.append(file)
    return True
