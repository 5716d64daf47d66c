"""SCOOP: workers on this host or on many, started by ``python -m scoop``; this process is one.

SCOOP's own ``map`` ignores time-outs and signals, and never ends when the broker or a worker is lost. So this backend
has its own loop, which requests work from the broker when it is idle. It does not request the status of tasks: SCOOP
would consider a task of more than some seconds lost, and run it twice.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import scoop
import zmq
from scoop import futures
from scoop._comm import Shutdown

from evoprune.backends.base import Backend, Call, Lost, Scores
from evoprune.backends.evaluation import evaluate_on_own_device, failed
from evoprune.backends.execution import Execution

_SEND = 10_000  # milliseconds after which the broker counts as lost if it accepts no message


class Scoop(Backend):
    """Hands calls to SCOOP's broker, from which every worker takes one at a time, this process too."""

    def __init__(self, execution: Execution, slowest: float = 0.0) -> None:
        super().__init__(execution.stall_after, slowest)
        self._place = execution.devices, execution.threads
        self._numbers_of: dict[Any, int] = {}
        self._asked, self.workers = False, int(scoop.SIZE)
        self._queue = scoop._control.execQueue
        self._queue.socket.socket.setsockopt(zmq.constants.SNDTIMEO, _SEND)

    def submit(self, call: Call) -> None:
        with _losses():
            task = futures.submit(evaluate_on_own_device, *self._place, call.function, call.genomes)
            self._queue.flush()
        self._numbers_of[task] = call.number

    def completed(self, timeout: float) -> list[tuple[int, Scores]]:
        end = time.monotonic() + timeout
        while True:
            with _losses():
                self._queue.updateQueue()
            if results := [self._result(task) for task in list(self._numbers_of) if task.isDone]:
                return results
            if self._queue.movable:
                return self._here()
            left = end - time.monotonic()
            if left <= 0:
                return []
            with _losses():
                if not self._asked:
                    self._queue.requestFuture()
                    self._asked = True
                self._queue.socket._poll(1000 * left)

    def _here(self) -> list[tuple[int, Scores]]:
        self._asked = False
        task = self._queue.movable.popleft()
        if task not in self._numbers_of:  # answered by another in the meantime
            return []
        with _not_longer_than(self.stall_after):
            evaluation = task.callable(*task.args)
        task._delete()
        return [(self._numbers_of.pop(task), evaluation)]

    def _result(self, task: Any) -> tuple[int, Scores]:
        task._delete()
        error = task.exceptionValue
        evaluation = failed(f"{type(error).__name__}: {error}") if error else task.resultValue
        return self._numbers_of.pop(task), evaluation


@contextmanager
def _losses() -> Iterator[None]:
    """Turn SCOOP's exceptions for lost parts into :class:`Lost`."""
    try:
        yield
    except zmq.error.Again:
        raise Lost("SCOOP's broker is gone") from None
    except Shutdown:
        raise Lost("a worker of SCOOP's ended") from None


class _Overdue(BaseException):
    """Not an Exception, which would count as the candidate's failure."""


@contextmanager
def _not_longer_than(seconds: float) -> Iterator[None]:
    """Raise :class:`Lost` after ``seconds``, in the process that would have to notice it."""

    def ring(*_: Any) -> None:
        raise _Overdue

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _Overdue:
        raise Lost(f"no result for {seconds:.0f} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
