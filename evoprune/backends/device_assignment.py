"""Which device a process evaluates on.

Processes that evoprune starts are given one. Workers that SCOOP or Dask start are not numbered, so
each claims a device of its own at its first task, by a lock file. The lock is on this host alone,
and is released when the process that holds it ends.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

from evoprune.backends.base import Scorer
from evoprune.backends.evaluation import Place, this_worker, worker_name
from evoprune.backends.execution import Execution
from evoprune.files.locks import lock, user_folder
from evoprune.interfaces.problem import Evaluation

_one_at_a_time = threading.Lock()
"""A worker of Dask's may have several threads, and a problem is built for one: it changes the model's own weights."""


def assign_main_process(execution: Execution) -> None:
    """Give the main process the device and threads of a worker, so that its results are rounded as theirs are."""
    if execution.map == "scoop":  # where the main process is a worker too
        claim_device(execution.devices, execution.threads)
    else:
        this_worker.assign(Place(execution.devices[0] if execution.devices else None, execution.threads))


def evaluate_on_own_device(
    devices: tuple[str, ...], threads: int | None, function: Scorer, genome: Sequence[float]
) -> Evaluation:
    """``function(genome)``, in a process that has claimed its device: the task for SCOOP's and Dask's workers."""
    with _one_at_a_time:
        claim_device(devices, threads)
        return function(genome)


def claim_device(devices: tuple[str, ...], threads: int | None) -> None:
    """Claim one of ``devices`` for this process, once: one that no process has, else one that the fewest have."""
    if not this_worker.name:
        this_worker.assign(Place(_claim(devices), threads), worker_name())


def _claim(devices: Sequence[str]) -> str | None:
    if not devices or set(devices) == {"cpu"}:
        return devices[0] if devices else None
    folder = user_folder()
    for level in itertools.count():
        for device in devices:
            if lock(folder / f"{device.replace(':', '-')}.{level}", wait=0) is not None:  # until this process ends
                return device
    return None
