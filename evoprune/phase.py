"""Tells how far a part of a run is that takes long: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import ClassVar, Self, TypeVar

from tqdm import tqdm

_EVERY, _LIVE = 4.0, 0.5
"""Seconds between two lines, and between two states of a live one."""

Item = TypeVar("Item")


def note(text: str) -> None:
    """Write one line to standard error at once, above what is live there."""
    with suppress(BrokenPipeError):  # nobody reads any more, but the run continues
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


class Phase(AbstractContextManager["Phase"]):
    """Shows the newest state on standard error until it is left, also while one thing takes long.

    A live line on a terminal; elsewhere a line whenever there was none for some seconds, of the innermost phase alone.
    ``quiet``: another process tells it.
    """

    _open: ClassVar[list[Phase]] = []

    def __init__(self, state: str = "", quiet: bool = False) -> None:
        self._state, self._over, self._said = state, threading.Event(), time.perf_counter()
        self._quiet, self._live = quiet, sys.stderr.isatty()
        form = "{desc} {elapsed}"
        self._line = tqdm(desc=state, bar_format=form, leave=False, disable=quiet or not self._live)
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self) -> Self:
        self._open.append(self)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._line.close()
        self._open.remove(self)

    def now(self, state: str) -> None:
        """What is being done."""
        self._state = state

    def note(self, text: str) -> None:
        """One line at once, which stays."""
        self._said = time.perf_counter()
        if not self._quiet:
            note(text)

    def _repeat(self) -> None:
        while not self._over.wait(_LIVE):
            if self._live:
                self._line.set_description_str(self._state)
            elif self is self._open[-1] and self._state and time.perf_counter() - self._said >= _EVERY:
                self.note(self._state)


def steps(items: Iterable[Item], label: str, unit: str, total: int | None = None) -> Iterator[Item]:
    """``items``, telling how many ``unit`` of ``total`` are done; ``total`` is needed where they have no length.

    The workers of a run are silent.
    """
    total = len(items) if isinstance(items, Sized) else total
    worker = multiprocessing.parent_process() is not None
    if worker or sys.stderr.isatty():
        yield from tqdm(items, label, total, unit=unit, leave=False, disable=worker)
        return
    with Phase(label) as phase:
        start = time.perf_counter()
        for done, item in enumerate(items, 1):
            yield item
            of = left = ""
            if total:
                each = (time.perf_counter() - start) / done
                of, left = f"/{total}", f", {tqdm.format_interval(each * (total - done))} left"
            phase.now(f"{label}: {done}{of} {unit}s{left}")
