"""Threads and processes that compute."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from evoprune.experiment.registry import HOME
from evoprune.problems.language_model.models.device import free_memory

_SHARE = 0.5  # of the free memory, for all threads

Work = TypeVar("Work")
Result = TypeVar("Result")


def fitting_threads(device: torch.device, each: float) -> int:
    """Return how many threads that hold ``each`` bytes may compute on ``device`` at once; 1 if it is no CPU."""
    fitting = _SHARE * free_memory(device) / each
    return max(1, int(min(fitting, torch.get_num_threads()))) if device.type == "cpu" else 1


def map_in_threads(
    function: Callable[[Work], Result], works: Sequence[Work], most: int | None = None
) -> Iterator[Result]:
    """``map(function, works)`` in ``most`` threads (default: as many as PyTorch would use for one call).

    A single work is computed by all threads together; where ``most`` is above 1, by one, so that rounding is the same.
    Threads that compute alone do not wait for each other, as those that share a product do.
    """
    before = torch.get_num_threads()
    threads = min(most or before, len(works))
    if (most or threads) == 1:
        yield from map(function, works)
        return
    autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    torch.set_num_threads(1)  # of this thread, and of MKL in all
    try:
        with ThreadPoolExecutor(threads, initializer=_begin, initargs=autocast) as pool:
            yield from pool.map(function, works)
    finally:
        torch.set_num_threads(before)


def _begin(autocast: bool, dtype: torch.dtype) -> None:
    """Prepare a thread to compute as the one that started it; these settings belong to a thread."""
    torch.set_num_threads(1)
    torch.set_autocast_enabled("cpu", autocast)
    torch.set_autocast_dtype("cpu", dtype)


class Failed(Exception):
    """The process failed: the last line of its ``log``, which is all of its stderr, or else its exit code."""

    def __init__(self, log: str) -> None:
        super().__init__(log.splitlines()[-1])
        self.log = log


def run_python(*arguments: str, **options: Any) -> dict[str, Any]:
    """Run ``python`` with ``arguments`` and return the JSON that it prints; ``options`` as of ``subprocess.run``."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)
    if done.returncode:
        raise Failed(done.stderr.strip() or f"exit code {done.returncode}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def environment() -> dict[str, str]:
    """Return the environment variables of a process that imports the same evoprune as this one."""
    home = str(HOME.parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))}
