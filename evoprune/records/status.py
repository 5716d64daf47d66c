"""The status of a run: ``status.json``, written during the run, and read at any time."""

import os
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from evoprune.console.errors import InputError, Stopped
from evoprune.console.progress import listening
from evoprune.experiment import config
from evoprune.experiment.explain import validated
from evoprune.files.json_files import read_json, write_json
from evoprune.files.locks import is_locked
from evoprune.interfaces.result import Result
from evoprune.records import recorded
from evoprune.records.history import is_generation
from evoprune.records.run_folder import CONFIG, HISTORY, LOCK, PROMISED, RESULT, STATUS, Promise, has_experiment

RUNNING, KILLED, STARTING = "running", "killed", "starting"
_EVERY = 2.0  # seconds between two writes of the phase


class _Stated(BaseModel, extra="ignore"):
    """Used keys of ``status.json``."""

    state: str
    reason: str | None = None
    phase: str | None = None
    seconds: float = Field(0.0, ge=0)
    seconds_left: float | None = None


class _Limits(BaseModel, extra="ignore"):
    """Used keys of ``config.yaml``."""

    generations: int = Field(ge=0)
    budget: float | None = Field(None, gt=0)


class StatusFile:
    """Writes ``status.json`` into ``folder`` during a run, from :meth:`begin` on, and measures the time of the run.

    The time is the seconds that processes worked on the run, which ``status.json`` stores: the wall clock may be set.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / STATUS, threading.Lock()
        self._promise = Promise.read(folder) or Promise()
        stated = validated(_Stated, read_json(self._path), str(self._path)) if self._path.exists() else None
        self._start = time.monotonic() - (stated.seconds if stated else 0.0)
        self._phase, self._written = "", 0.0
        self.begun = False

    def begin(self) -> None:
        if not self.begun:
            self.write(RUNNING)
            self.begun = True

    def end(self, state: str, reason: str | None = None) -> None:
        self.begun = False
        self.write(state, reason)

    def seconds_left(self, searching: bool = False) -> float | None:
        """Seconds until the end of the planned time, or of the ``searching`` in it; None for no limit."""
        limit = self._promise.searching if searching else self._promise.seconds
        return None if limit is None else limit - self.seconds

    @property
    def seconds(self) -> float:
        """Seconds of work on the run so far."""
        return time.monotonic() - self._start

    def update(self, phase: str, seconds_left: float | None) -> None:
        if self.begun and phase != self._phase and time.monotonic() - self._written >= _EVERY:
            with suppress(OSError):  # of a full disk; the history reports it
                self.write(RUNNING, phase=phase, seconds_left=seconds_left)
            self._phase, self._written = phase, time.monotonic()

    def write(
        self, state: str, reason: str | None = None, phase: str | None = None, seconds_left: float | None = None
    ) -> None:
        """Write the ``state`` (running, done, stopped, interrupted or failed), its reason, and the current phase."""
        with self._lock:
            keys = {"state": state, "reason": reason, "at": datetime.now(UTC).isoformat(timespec="seconds")}
            more = {"pid": os.getpid(), "phase": phase, "seconds": self.seconds, "seconds_left": seconds_left}
            write_json(self._path, keys | more)


@contextmanager
def keeping_status(folder: Path) -> Iterator[StatusFile]:
    """Write the status of the run in ``folder`` until the context ends; an exception becomes its last state."""
    status = StatusFile(folder)
    try:
        with listening(status.update):
            yield status
    except BaseException as error:
        if status.begun:
            with suppress(OSError):
                if isinstance(error, KeyboardInterrupt):
                    status.end("interrupted", "interrupted (Ctrl-C or a signal)")
                else:
                    expected = isinstance(error, (Stopped, InputError))
                    status.end("stopped" if expected else "failed", str(error) or type(error).__name__)
        raise


@dataclass(frozen=True)
class Status:
    """Progress of a run.

    ``state``: that in ``status.json``; ``killed`` if that is running and no process has the lock; ``starting`` if that
    is another and a process has the lock; ``empty`` without an experiment. ``best``: after the last whole generation,
    None for several objectives. ``seconds_left``: an estimate. ``promised``: its result is not exported yet.
    """

    folder: Path
    state: str
    reason: str | None = None
    generation: int | None = None
    generations: int = 0
    evaluations: int = 0
    work: float = 0.0
    budget: float | None = None
    best: float | None = None
    phase: str | None = None
    seconds_left: float | None = None
    promised: bool = False

    @property
    def is_running(self) -> bool:
        return self.state in {RUNNING, STARTING}

    @property
    def resumable(self) -> bool:
        return self.state in {KILLED, "stopped", "interrupted", "failed"} or self.promised


def find_runs(folder: Path) -> list[Path]:
    """Return ``folder`` if it is a run's, else the runs at any depth below it. Raises :class:`InputError` for none."""
    if any((folder / name).is_file() for name in (LOCK, STATUS)):
        return [folder]
    if runs := sorted(path.parent for name in (LOCK, STATUS) for path in folder.rglob(f"[!.]*/{name}")):
        return list(dict.fromkeys(runs))
    raise InputError("is not the folder of a run and contains none; expected RUN_DIR or a folder of runs", str(folder))


def read_status(folder: Path) -> Status:
    """The status of the run in ``folder``. Raises :class:`InputError` for files that no run writes."""
    locked, path = is_locked(folder / LOCK), folder / STATUS
    begun = has_experiment(folder)
    if not begun and (folder / HISTORY).exists():
        raise InputError(f"holds {HISTORY}, but no {CONFIG} that it belongs to", str(folder))
    if not path.exists() and not begun:
        return Status(folder, "empty", "it ended before it began")
    stated = validated(_Stated, read_json(path), str(path)) if path.exists() else _Stated(state=RUNNING)
    state, promised = stated.state, (folder / PROMISED).exists()
    if state == "done" and not (folder / RESULT).exists():  # it is, or was, being lengthened
        state = RUNNING
    if locked != (state == RUNNING) and not (locked and promised and state == "done"):  # it is being exported
        state = STARTING if locked else KILLED
    if not begun:
        return Status(folder, state, stated.reason)
    limits = validated(_Limits, config.read(folder / CONFIG), str(folder / CONFIG))
    finished = not locked and (folder / RESULT).exists()
    lines = list(recorded.lines(folder / HISTORY, whole=finished))
    if finished:
        recorded.read_result(folder, Result, lines)
    scores = [line for line in lines if "candidate" in line and not line["memo"]]
    last: dict[str, Any] = next((line for line in reversed(lines) if is_generation(line)), {})
    running = stated if state == RUNNING else _Stated(state=state)
    return Status(
        folder, state, stated.reason, last.get("generation"), limits.generations, len(scores),
        sum(line["work"] for line in scores), limits.budget, last.get("best"),
        running.phase, running.seconds_left, promised and not locked,
    )  # fmt: skip


def no_result_reason(folder: Path) -> str:
    """Explain why the run in ``folder`` has no result, and how to get one. Raises as :func:`read_status`."""
    status = read_status(folder)
    after = "" if status.generation is None else f" after generation {status.generation}"
    if status.is_running:
        return f"is still running{after}; it has a result when it is done"
    if status.resumable:
        return f"{status.state}{after}; finish it with `python -m evoprune resume {shlex.quote(str(folder))}`"
    return f"has no {RESULT}, and its state is {status.state}; run the experiment again"
