"""Work on a CPU in threads, each of which computes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Work = TypeVar("Work")
Result = TypeVar("Result")


def spread(function: Callable[[Work], Result], works: Sequence[Work]) -> Iterator[Result]:
    """``map(function, works)`` in as many threads as PyTorch would use for one call.

    Threads that share one product wait for each other many thousand times in a pass; beside other processes each of
    these waits takes a share of the scheduler's time. Threads that compute alone do not wait.
    """
    before = torch.get_num_threads()
    threads = min(before, len(works))
    if threads == 1:
        yield from map(function, works)
        return
    torch.set_num_threads(1)  # of this thread, and of MKL in all
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, works)
    finally:
        torch.set_num_threads(before)
