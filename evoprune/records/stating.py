"""Keeps ``status.json`` while a run goes on: its state, what is being done, and in the end how it ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evoprune.console.phase import listening
from evoprune.errors import InputError, Stopped
from evoprune.records.run_folder import write_status

_EVERY = 2.0
"""Seconds between two statements of what is being done."""


class Stating:
    """Writes the status of the run in ``folder``, from :meth:`begin` on."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._told, self._at = "", 0.0
        self.begun = False

    def begin(self) -> None:
        """The run goes on from here."""
        if not self.begun:
            self._write("running")
            self.begun = True

    def end(self, state: str, reason: str | None = None) -> None:
        """How it ended."""
        self.begun = False
        self._write(state, reason)

    def tell(self, phase: str, seconds_left: float | None) -> None:
        """What is being done, from any thread; not written if something was just now."""
        if self.begun and phase != self._told and time.monotonic() - self._at >= _EVERY:
            with suppress(OSError):  # a full disk is told by what cannot do without it
                self._write("running", phase=phase, seconds_left=seconds_left)
            self._told, self._at = phase, time.monotonic()

    def _write(
        self, state: str, reason: str | None = None, phase: str | None = None, seconds_left: float | None = None
    ) -> None:
        with self._lock:
            write_status(self._folder, state, reason, phase, seconds_left)


@contextmanager
def stating(folder: Path) -> Iterator[Stating]:
    """The status of the run in ``folder``; an exception ends it."""
    status = Stating(folder)
    try:
        with listening(status.tell):
            yield status
    except BaseException as error:
        if status.begun:
            with suppress(OSError):
                status.end(_state(error), _reason(error))
        raise


def _state(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "stopped" if isinstance(error, (Stopped, InputError)) else "failed"


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted (Ctrl-C or a signal)"
    return str(error) or type(error).__name__
