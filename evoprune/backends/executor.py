"""Any executor of :mod:`concurrent.futures`, such as in loky and mpi4py.

An executor does not say which of its tasks ended a worker. So after that, a new one tries each task that was lost
alone.
"""

import json
import os
import signal
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evoprune.backends.base import Backend, Call, Genomes, Lost, Scorer, Scores
from evoprune.backends.evaluation import evaluate_on_own_device, failed, this_worker, worker_name
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError, blamed_on, cut_repr, typed
from evoprune.experiment import registry
from evoprune.interfaces.problem import Evaluation

_AHEAD = 2  # calls that the executor has for each worker: one runs, one waits; more would be lost with a worker
_run = ""  # in a worker, the last run

Functions = Mapping[str, Callable[..., Any]]


@dataclass
class Given:
    """An executor, and the functions that its tasks carry: other processes may be unable to import them."""

    executor: Executor
    functions: Functions = field(default_factory=dict)

    def carry(self, section: Mapping[str, Any], functions: Functions) -> None:
        """Carry ``functions``, and the local ones that ``section`` of an experiment names."""
        text = json.dumps(section, default=str)
        every = {**registry.local_functions, **functions}
        self.functions = {name: function for name, function in every.items() if json.dumps(name) in text}


given: dict[str, Given] = {}
"""Executors that callers in this process made, by the name in :attr:`Execution.map`."""


def execution_of(workers: int | Execution | Executor) -> Execution:
    """Return the execution by so many processes, or by an executor, which stays open; see :data:`given`."""
    if not isinstance(workers, Executor):
        return workers if isinstance(workers, Execution) else Execution(workers=workers)
    kind = type(workers)
    if kind.__module__.startswith("distributed"):  # its thread draws random numbers during a search
        raise InputError("for Dask, expected Execution('dask', scheduler='tcp://HOST:PORT')", "workers")
    name = f"{kind.__module__}:{kind.__qualname__}"
    given[name] = Given(workers)
    return Execution(name, getattr(workers, "_max_workers", None))


class Executing(Backend):
    """Submits calls to the executor that ``execution`` names, by ``module:factory`` or in :data:`given`."""

    def __init__(self, execution: Execution, slowest: float = 0.0) -> None:
        super().__init__(execution.stall_after, slowest)
        assert execution.map is not None
        self.workers, self._name = execution.workers or 1, execution.map
        self._given = given.get(self._name)
        functions = self._given.functions if self._given else {}
        self._arguments = uuid.uuid4().hex, functions, execution.devices, execution.threads
        self._tasks: dict[Future[list[Evaluation]], Call] = {}
        self._suspects: set[Genomes] = set()
        self._alone = False
        self._executor = self._given.executor if self._given else _made(self._name)
        self._check(functions)

    def completed(self, timeout: float) -> list[tuple[int, Scores]]:
        try:
            self._send()
            ready = wait(self._tasks, timeout, FIRST_COMPLETED).done
            errors = {task: task.exception() for task in ready}
        except BrokenExecutor as error:
            return self._replace(error)
        except (CancelledError, RuntimeError) as error:
            raise Lost(f"the executor was shut down ({typed(error)})") from None
        if broken := next((error for error in errors.values() if isinstance(error, BrokenExecutor)), None):
            return self._replace(broken)
        return [
            (self._tasks.pop(task).number, failed(typed(error)) if error else task.result())
            for task, error in errors.items()
        ]

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if not self._given:
            _end(self._executor)

    def _check(self, functions: Functions) -> None:
        """Raise :class:`InputError` for an executor that cannot take our tasks, or runs them in this process."""
        fault = ""
        try:
            if self._executor.submit(_greet, functions).result(self.stall_after) == worker_name():
                fault = "runs tasks in this process, which draws the random numbers: expected one of other processes"
        except Exception as error:
            carried = f" that carries {', '.join(functions)}" if functions else ""
            instead = ": define it at the top of a module, or take an executor of loky" if functions else ""
            fault = f"cannot run a task{carried} ({typed(error)}){instead}"
        if fault:
            self.close()
            raise InputError(f"{self._name} {fault}", "workers" if self._given else "--map")

    def _send(self) -> None:
        while self._calls and len(self._tasks) < _AHEAD * self.workers:
            suspect = self._calls[0].genomes in self._suspects
            if self._tasks and (suspect or self._alone):
                return
            call = self._calls[0]
            task = self._executor.submit(_evaluate, *self._arguments, call.function, call.genomes)
            self._alone, self._tasks[task] = suspect, self._calls.popleft()

    def _replace(self, why: BrokenExecutor) -> list[tuple[int, Scores]]:
        """Replace a broken executor; return the results that are there, and a task that broke it alone as failed."""
        if self._given:
            raise Lost(f"the executor is broken ({typed(why)}); --map module:factory would replace it")
        results: list[tuple[int, Scores]] = []
        lost = []
        for task, call in self._tasks.items():
            if task.done() and not task.cancelled() and not task.exception():
                results.append((call.number, task.result()))
            elif self._alone:
                results.append((call.number, failed(f"its worker died ({typed(why)})")))
            else:
                lost.append(call)
        self._tasks.clear()
        self._suspects |= {call.genomes for call in lost}
        self._calls.extendleft(reversed(lost))
        _end(self._executor)
        self._executor = _made(self._name)
        return results


def _made(name: str) -> Executor:
    module = name.partition(":")[0]
    with blamed_on("--map"):
        registry.plugin(module, [str(Path.cwd())])
        executor = registry.find_plugin("", name)()
    if not isinstance(executor, Executor):
        raise InputError(f"expected a function that returns an Executor, got {cut_repr(executor)}", f"--map {name}")
    return executor


def _end(executor: Executor) -> None:
    """Shut ``executor`` down, and kill its processes where it has some here: one may hang."""
    processes = [*(getattr(executor, "_processes", None) or {}).values()]
    executor.shutdown(wait=False)
    for process in processes:
        with suppress(OSError):
            os.kill(process.pid, signal.SIGKILL)


def _greet(functions: Functions) -> str:  # noqa: ARG001 - sent to try whether they can be
    return worker_name()


def _evaluate(
    run: str, functions: Functions, devices: tuple[str, ...], threads: int | None, function: Scorer, genomes: Genomes
) -> list[Evaluation]:
    """Evaluate in a worker, which may have known functions of the same names in an earlier ``run``."""
    global _run
    if run != _run:
        _run = run
        registry.local_functions.update(functions)
        this_worker.forget()
    return evaluate_on_own_device(devices, threads, function, genomes)
