"""Processes on this host, each pinned to a device; one that dies is replaced."""

import multiprocessing
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tqdm import tqdm

from evoprune.backends.base import Backend, Call, Scores
from evoprune.backends.evaluation import failed, this_worker, worker_name
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError

_CONTEXT = multiprocessing.get_context("spawn")  # CUDA and threads do not work in a forked process


class Processes(Backend):
    """A process for each of the places of ``execution``."""

    def __init__(self, execution: Execution, slowest: float = 0.0) -> None:
        super().__init__(execution.stall_after, slowest)
        _refuse_unguarded_script()
        self._workers = [_Worker(device, execution.threads) for device in execution.places]
        self.workers = len(self._workers)

    def completed(self, timeout: float) -> list[tuple[int, Scores]]:
        self._hand_out()
        busy = {worker.pipe: worker for worker in self._workers if worker.call}
        results = [busy[pipe].result() for pipe in wait(list(busy), timeout) if isinstance(pipe, Connection)]
        self._hand_out()
        return results

    def close(self) -> None:
        for worker in self._workers:
            worker.end()

    def _hand_out(self) -> None:
        for worker in (worker for worker in self._workers if worker.call is None):
            if call := next((c for c in self._calls if c.avoid != worker.name or self.workers == 1), None):
                self._calls.remove(call)
                worker.begin(call)


def _refuse_unguarded_script() -> None:
    """Raise InputError for a script that would begin anew in each process, which imports it."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or main.__spec__ is not None:
        return
    with suppress(OSError, UnicodeDecodeError):
        if not re.search(r"__name__\s*==|parent_process", Path(path).read_text()):
            raise InputError('workers import this script: call it under if __name__ == "__main__":', path)


class _Worker:
    """One process, seen from the main one. ``call``: its evaluation, if any."""

    def __init__(self, device: str | None, threads: int | None) -> None:
        self._place = device, threads
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(theirs, *self._place), daemon=True)
        resource_tracker.ensure_running()  # its start would unblock the signal
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the process inherits
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()  # so that the death of the process, which then has the only other end, is an end of file
        self.call: Call | None = None

    @property
    def name(self) -> str:
        return worker_name(self._process.pid)

    def begin(self, call: Call) -> None:
        if not self._process.is_alive():
            self.end()
            self._start()
        self.call = call
        with suppress(OSError):  # it has just died; `result` handles that
            self.pipe.send((call.function, call.genomes))

    def result(self) -> tuple[int, Scores]:
        assert self.call is not None
        number, self.call = self.call.number, None
        try:
            return number, self.pipe.recv()
        except (EOFError, OSError):
            name = self.name
            self.end(grace=1.0)
            code = self._process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self._start()
            return number, failed(f"its worker died ({how})", name)

    def end(self, grace: float = 0.0) -> None:
        """End the process; one that is dying has ``grace`` seconds to leave its exit code."""
        self._process.join(grace)
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _work(pipe: Connection, device: str | None, threads: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the main process's to handle
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # of processes that an evaluation starts
    threading.Thread(target=_end_with_main_process, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # by default it is a semaphore, which a killed process would leak
    this_worker.assign(device, threads, worker_name())
    while True:
        try:
            function, genomes = pipe.recv()
        except EOFError:
            return
        pipe.send(function(genomes))


def _end_with_main_process() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
