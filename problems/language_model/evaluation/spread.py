"""Work on a CPU in threads, each of which computes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


def spread(function: Callable[..., Result], *arguments: Sequence[Any]) -> Iterator[Result]:
    """``map(function, *arguments)`` in as many threads as PyTorch would use for one call.

    Threads that share one product wait for each other many thousand times in a pass; beside other processes each of
    these waits takes a share of the scheduler's time. Threads that compute alone do not wait.
    """
    threads = min(torch.get_num_threads(), len(arguments[0]))
    if threads == 1:
        yield from map(function, *arguments)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # of this thread, and of MKL in all
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, *arguments)
    finally:
        torch.set_num_threads(before)
