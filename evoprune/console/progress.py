"""Progress of a slow part of a run: a live line on a terminal; in a log, a line at its end and one per minute."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import ClassVar, Self, TextIO, TypeVar

from tqdm import tqdm

_LONG, _AGAIN, _LIVE = 3.0, 60.0, 0.5
"""Seconds: least time of a part that gets a line; between two lines of a log; between two states of a live line."""

Item = TypeVar("Item")

Listener = Callable[[str, float | None], None]
"""Called with the current activity and its remaining seconds, if known, from other threads."""

_listeners: list[Listener] = []
_silencers: list[object] = []


def note(text: str, stream: TextIO | None = None) -> None:
    """Write one line to standard error, or to ``stream``, at once, above a live line, unless all is :func:`silent`."""
    if _silencers:
        return
    stream = stream or sys.stderr
    with suppress(BrokenPipeError):  # without a reader, the run continues
        tqdm.write(text, file=stream)
        stream.flush()


def is_live() -> bool:
    """Return whether standard error is a terminal with a size, on which a line can change."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):  # a stream that is no file
        return False


@contextmanager
def silent() -> Iterator[None]:
    """Show no progress and no notes of this process."""
    _silencers.append(None)
    try:
        yield
    finally:
        _silencers.pop()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` with the state of the innermost :class:`Progress`, about twice a second."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class Progress(AbstractContextManager["Progress"]):
    """Context of a slow part of a run; the state of the innermost one is shown on standard error, unless ``quiet``.

    ``label``: the first state; in a log, the last line of the part has its duration.
    """

    _open: ClassVar[list[Progress]] = []
    _said: ClassVar[float] = 0.0  # when the last line was written

    def __init__(self, label: str = "", quiet: bool = False) -> None:
        self._state: str | Callable[[], str] = label
        self._label, self._begun, self._over = label, time.perf_counter(), threading.Event()
        self._stream = sys.stderr  # libraries may be silenced there meanwhile
        self._quiet, self._live, self._end = quiet or bool(_silencers), is_live(), math.inf
        form = "{desc} {elapsed}"
        self._line = tqdm(desc=label, bar_format=form, leave=False, disable=self._quiet or not self._live)
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self) -> Self:
        if not self._open:
            Progress._said = time.perf_counter()
        self._open.append(self)
        self._thread.start()
        return self

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._line.close()
        self._open.remove(self)
        seconds = time.perf_counter() - self._begun
        if self._label and not error_class and not self._live and seconds >= _LONG:
            self.note(f"{self._label}: {seconds:.0f} s")

    def now(self, state: str | Callable[[], str], seconds_left: float = math.inf) -> None:
        """Show ``state``, or the text that it returns whenever one is shown."""
        self._state, self._end = state, time.perf_counter() + seconds_left

    def note(self, text: str) -> None:
        Progress._said = time.perf_counter()
        if not self._quiet:
            note(text, self._stream)

    @property
    def silent_for_long(self) -> bool:
        return time.perf_counter() - self._said >= _AGAIN

    def _repeat(self) -> None:
        while not self._over.wait(_LIVE):
            state = self._state() if callable(self._state) else self._state
            if self is self._open[-1] and state:
                left = self._end - time.perf_counter()
                for listener in _listeners:
                    listener(state, max(0.0, left) if math.isfinite(left) else None)
            if self._live:
                self._line.set_description_str(state)
            elif self is self._open[-1] and state and self.silent_for_long:
                self.note(state)


def steps(items: Iterable[Item], label: str, unit: str, total: int | None = None) -> Iterator[Item]:
    """Yield ``items`` and show how many ``unit`` of ``total`` are done; workers are silent."""
    total = len(items) if isinstance(items, Sized) else total
    worker, live = multiprocessing.parent_process() is not None, is_live()
    bar = tqdm(desc=label, total=total, unit=unit, leave=False, delay=_LONG, disable=worker or not live)
    with Progress(quiet=worker or live) as progress, bar:
        start = time.perf_counter()
        progress.now(label)
        for done, item in enumerate(items, 1):
            yield item
            bar.update()
            if not total:
                progress.now(f"{label}: {done} {unit}s")
                continue
            left = (time.perf_counter() - start) / done * (total - done)
            progress.now(f"{label}: {done}/{total} {unit}s, {tqdm.format_interval(left)} left", left)
