"""Dask: workers that may die, or come and go, on this host or on many.

Dask repeats the tasks of a dead worker, and fails a task whose workers died several times. Another task may have
killed them, so the failed task is tried once more, alone.
"""

import logging
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from evoprune.backends.base import Backend, Call, Genomes, Lost, Scores
from evoprune.backends.evaluation import evaluate_on_own_device, failed
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError

_RECOUNT = 1.0  # seconds after which the workers are counted again
_ANSWER = 5.0  # seconds that Dask's thread gets to answer
_PATIENCE = "1d"  # for a worker that starts again; after 15 s without it, Dask would end what starts it, too
_AHEAD = 2  # calls that Dask has for each worker: one runs, one waits; more would be lost with a worker


class Dask(Backend):
    """Sends calls to the scheduler that ``execution`` names, or to a new one on this host."""

    def __init__(self, execution: Execution, slowest: float = 0.0) -> None:
        super().__init__(execution.stall_after, slowest)
        self._place = execution.devices, execution.threads
        self._going: dict[Any, Call] = {}
        self._suspects: set[Genomes] = set()
        self._alone = False
        try:
            import distributed
        except ImportError:
            raise InputError("needs another package: pip install 'evoprune[dask]'", "--map dask") from None
        _silence()
        self._dask, self._go_on = distributed, threading.Event()
        self._cluster = None if execution.scheduler else _local(distributed, execution.workers)
        try:
            self._client = distributed.Client(execution.scheduler or self._cluster, timeout=20)
        except (OSError, ValueError) as error:
            why = f"no scheduler of Dask answers at '{execution.scheduler}' ({error})"
            raise InputError(why, "--scheduler") from None
        # signals interrupt the main thread alone; there, Ctrl-C could leave a task half made
        self._sender = ThreadPoolExecutor(1)
        self._counted, self.workers = -math.inf, 1  # each worker does one call at a time, however many threads it has
        self._pause()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let Dask's thread run. It draws from the global :mod:`random`, so it is paused at other times."""
        self._go_on.set()
        try:
            yield
        finally:
            self._pause()

    def share(self, genomes: int) -> int:
        self._recount()
        return super().share(genomes)

    def completed(self, timeout: float) -> list[tuple[int, Scores]]:
        try:
            self._recount()
            self._send()
            return list(self._results(timeout))
        except Exception as error:
            # a lost scheduler raises any of several exceptions
            if isinstance(error, (CancelledError, OSError)) or self._client.status != "running":
                raise Lost("Dask's scheduler is gone") from None
            raise

    def _results(self, timeout: float) -> Iterator[tuple[int, Scores]]:
        """Yield results of finished tasks whose worker answers; Dask repeats the others when it drops their worker."""
        try:
            ready = self._dask.wait(list(self._going), timeout, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            if self._client.status == "closed":  # tasks that it was given since are never done
                raise
            return
        for task in ready:
            with suppress(TimeoutError):
                evaluation = _result(task, timeout)
                call = self._going.pop(task)
                if task.status == "error":
                    self._suspects.add(call.genomes)
                yield call.number, evaluation

    def close(self) -> None:
        self._go_on.set()
        self._sender.shutdown()
        self._client.close()
        if self._cluster:
            self._cluster.close()

    def _send(self) -> None:
        while self._calls and len(self._going) < _AHEAD * self.workers:
            suspect = self._calls[0].genomes in self._suspects
            if self._going and (suspect or self._alone):
                return
            self._alone = suspect
            call = self._calls.popleft()
            arguments = *self._place, call.function, call.genomes
            submit = partial(self._client.submit, pure=False, priority=-call.number)
            task = self._sender.submit(submit, evaluate_on_own_device, *arguments).result()
            self._going[task] = call

    def _recount(self) -> None:
        """Count the workers now and then; only :meth:`at_work`, as Dask's thread has to answer."""
        if time.monotonic() - self._counted > _RECOUNT:
            with suppress(TimeoutError, OSError):  # a scheduler that does not answer; its silence ends the run
                self.workers = max(1, len(self._client.nthreads(callback_timeout=_ANSWER)))
            self._counted = time.monotonic()

    def _pause(self) -> None:
        """Block Dask's thread in a call until :meth:`at_work`."""
        paused, go_on = threading.Event(), threading.Event()
        self._go_on = go_on

        def pause() -> None:
            paused.set()
            go_on.wait()

        self._client.loop.add_callback(pause)
        paused.wait(_ANSWER)  # a thread that has ended draws no more either


def _silence() -> None:
    """Keep Dask from printing tracebacks when it loses workers."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _local(distributed: Any, workers: int | None) -> Any:
    import dask

    dask.config.set({"distributed.deploy.lost-worker-timeout": _PATIENCE})
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL,
        memory_limit=0,  # a model larger than an even share of the memory is no reason to kill a worker
    )  # fmt: skip


def _result(task: Any, timeout: float) -> Scores:
    """Result of ``task``. Raises TimeoutError if its worker does not answer, which Dask replaces after a while."""
    if task.status == "error":
        error = task.exception()
        return failed(f"{type(error).__name__}: {error}")
    result: Scores = task.result(timeout)
    return result
